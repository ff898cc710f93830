"""What code of the user's, or their machine, raises in the middle of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from mstgraph.distil.probing import layer_of
from mstgraph.stages.stage import StageNode
from mstgraph.support.errors import RunError, UserError, in_words, users_line

NO_MEMORY = "can't allocate memory"  # torch's words for the CPU


@contextmanager
def in_users_words(group: Sequence[StageNode], modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """Turn what code of the user's, or their machine, raises in a stage into one sentence.

    Args:
        group: stages that are under way.
        modules: name of a part → module.

    Raises:
        UserError: names the stages, the part and the layer, the exception and the line of code.
        RunError: there is not memory enough.
    """
    try:
        yield
    except (UserError, RunError):
        raise
    except (Exception, SystemExit) as error:
        stages = ", ".join(node.name for node in group)
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or NO_MEMORY in str(error):
            raise RunError(
                f"stage {stages}: there is not memory enough ({in_words(error)}); try a smaller "
                "data.batch_size, or engine.memory_gigabytes"
            ) from error
        if isinstance(error, OverflowError):
            raise UserError(
                f"stage {stages}: a setting is larger than numbers can be: {in_words(error)}"
            ) from error
        if not users_line(error):
            raise
        layers = {name: layer_of(error, module) for name, module in modules.items()}
        place = next((f"part '{name}', {layer}" for name, layer in layers.items() if layer), "")
        raise UserError(f"stage {stages}: {place}{in_words(error)}") from error
