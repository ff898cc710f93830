"""Stages, one file each: its loss on a batch, what it trains, how its best epoch is chosen."""
