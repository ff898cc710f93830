"""What a person reads: tables, progress, summaries."""
