"""What a benchmark came to, and what its seeds say."""
