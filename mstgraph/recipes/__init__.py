"""Helpers for recipes (`datasets/*.py`): raw files, published weights, indoor scenes."""
