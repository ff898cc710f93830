"""Writing a feature store from a recipe: atomic, resumable, checked."""
