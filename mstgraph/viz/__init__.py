"""Figures of graphs and finished runs; they read run folders and nothing else."""
