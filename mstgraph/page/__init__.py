"""One page about a run, several or a benchmark, which needs neither network nor server."""
