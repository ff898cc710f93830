"""One run on several processes: each computes networks for its rows of every batch."""
