"""Methods × teachers × students × seeds, and the tables and figures that come of it."""
