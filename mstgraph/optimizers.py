"""The optimisers that gin files may name: ``@Adam``, ``@AdamW``, ``@SGD``."""

from __future__ import annotations

import gin
import torch

# gin.torch would register all of them, but imports distutils, which Python 3.12 dropped.
Adam = gin.external_configurable(torch.optim.Adam, "Adam", module="mstgraph")
AdamW = gin.external_configurable(torch.optim.AdamW, "AdamW", module="mstgraph")
SGD = gin.external_configurable(torch.optim.SGD, "SGD", module="mstgraph")
