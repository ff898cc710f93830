"""A student leaves: files that devices run, measured by their own runtimes, and a model card."""
