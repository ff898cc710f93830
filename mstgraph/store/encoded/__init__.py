"""Samples that are stored as files of their own: pictures and recordings, decoded when read."""
