"""Tables, statistics and figures of a benchmark."""
