"""The parts of stages, with the weights that earlier stages left."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from mstgraph.derive.parts import Parts
from mstgraph.run.artefacts.run_folder import RunFolder
from mstgraph.stages.stage import StageNode


def load_modules(
    parts: Parts,
    folder: RunFolder,
    group: Sequence[StageNode],
    device: torch.device,
) -> dict[str, nn.Module]:
    """Build the parts of stages on a device, with the weights that they start from."""
    modules = {}
    for node in group:
        for name, part in node.parts.items():
            if name in modules:
                continue
            modules[name] = parts.build(part, "cpu")
            if name in node.sources:
                folder.load(node.sources[name], name, modules[name])
            else:
                parts.start(part, modules[name])
            modules[name].to(device)
            # Convolutions run up to twice as fast with channels last; all else stays as it is.
            convert_conv2d_weight_memory_format(modules[name], torch.channels_last)
    return modules
