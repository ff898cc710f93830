"""Reading a recipe: its samples checked and put into blocks, here or by processes of our own."""
