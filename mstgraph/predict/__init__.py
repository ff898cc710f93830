"""A student answers to raw items: files and lines as the recipe reads them."""
