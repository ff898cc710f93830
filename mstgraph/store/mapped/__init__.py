"""A store's data file, mapped: where its values lie, whether they are sound, and reading them."""
