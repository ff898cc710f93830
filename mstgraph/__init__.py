"""mstgraph: cross-modal knowledge distillation, declared as a graph."""

__version__ = "0.1.0"
