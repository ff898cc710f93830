"""mstgraph: cross-modal knowledge distillation, declared as a graph."""

import os

__version__ = "0.1.0"

# Large tensors in huge pages, where Linux has them: fresh ones are then there up to seven times
# sooner. Torch reads this when it makes its first tensor; whoever sets it otherwise is heard.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
