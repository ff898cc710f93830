"""``python -m mstgraph`` is the command line."""

from mstgraph.cli import main

if __name__ == "__main__":
    main(prog_name="mstgraph")
