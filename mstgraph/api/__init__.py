"""The Python door: what the command line does, in a notebook or in somebody's own program."""
