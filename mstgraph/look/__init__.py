"""What a run has learned: its record as it lies on disk, and what its networks do with data."""
