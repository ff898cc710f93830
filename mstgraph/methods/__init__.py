"""Edge losses, one file each: the pure function first, the configurable second."""
