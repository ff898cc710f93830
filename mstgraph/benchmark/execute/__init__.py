"""Running the stages of a benchmark: in order, in processes or on Ray."""
