"""From a plan to a run folder: the training loop, what is kept, what is left on disk."""
