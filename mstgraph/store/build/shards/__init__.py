"""Stores that consist of several: prepared in pieces, or grown by what was appended."""
