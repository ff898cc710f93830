"""What all formats have in common: the network that leaves, and what a format must say."""

from __future__ import annotations

import importlib
import io
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from mstgraph.support.errors import UserError, users_code
from mstgraph.support.text import one_line

Output = Literal["logits", "probabilities"]
Answer = Callable[..., np.ndarray]
"""From raw values, [batch, *shape] of each modality, to outputs, [batch, num_outputs, *extent]."""
Sample = tuple[np.ndarray, ...]
"""Raw values of one sample, [1, *shape] of each modality."""
INPUTS = "values"  # of `Deployed.forward`


class Deployed(nn.Module):
    """The network that leaves: raw values in, logits or probabilities out.

    Args:
        student: takes raw values and normalises them itself.
        output: what is wanted of it.
    """

    def __init__(self, student: nn.Module, output: Output):
        super().__init__()
        self.student = student
        self.output = output

    def forward(self, *values: Tensor) -> Tensor:
        """Return [batch, num_outputs, *extent] float of raw values, [batch, *shape] each."""
        logits: Tensor = self.student(*values)
        return logits.softmax(1) if self.output == "probabilities" else logits


@dataclass(frozen=True)
class Model:
    """What a format is to write.

    Attributes:
        network: the network that leaves, in eval mode.
        modalities: what it sees, in its order: the names of the file's inputs.
        example: raw values of each as the store holds them, [2, *shape].
        largest: of the batches that will be asked for; formats that plan their memory need it.
        facts: what the file says of itself, as text.
    """

    network: Deployed
    modalities: tuple[str, ...]
    example: tuple[Tensor, ...]
    largest: int
    facts: Mapping[str, str]

    def exported(self, limit: int | None = None) -> torch.export.ExportedProgram:
        """Return the network's graph for any batch, or for one of at most ``limit`` samples.

        Raises:
            UserError: it cannot be traced, or asks what its values are.
        """
        seen = " + ".join(self.modalities)
        what = f"{type(self.network.student).__name__} of '{seen}' cannot be exported"
        with users_code(what), quiet(), torch.no_grad():
            return self.traced(self.network, limit)

    def traced(self, network: nn.Module, limit: int | None) -> torch.export.ExportedProgram:
        """Return the graph of this network, or of a graph made of it; see `exported`."""
        batch = torch.export.Dim("batch", min=1, max=limit)
        each = tuple({0: batch} for _ in self.example)
        # A graph has an argument for each input, the network one for all of them.
        shapes = {INPUTS: each} if isinstance(network, Deployed) else each
        return torch.export.export(network, self.example, dynamic_shapes=shapes, strict=False)


class Format(ABC):
    """A file that a runtime runs; one class in one file of this folder."""

    name: ClassVar[str]
    title: ClassVar[str]
    suffix: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()  # modules that the extra of the format's name installs
    needs_for_int8: ClassVar[tuple[str, ...]] = ()
    quantises: ClassVar[bool] = True
    runtime: ClassVar[str]  # the distribution whose version is told

    @abstractmethod
    def write(self, model: Model, path: Path) -> None:
        """Write the network as it is."""

    def quantise(self, model: Model, plain: Path, path: Path, samples: Sequence[Sample]) -> None:
        """Write the network in eight bits, by the runtime's own static quantisation.

        Args:
            model: the network.
            plain: what `write` wrote.
            path: where to.
            samples: to calibrate on.
        """
        raise NotImplementedError(f"{self.title} does not quantise")

    @abstractmethod
    def answer(self, path: Path, threads: int) -> Answer:
        """Return what runs the file by its own runtime, on as many threads."""

    def files(self, path: Path) -> tuple[Path, ...]:
        """Return all files that belong to one that was written."""
        return (path,)

    def check_installed(self, int8: bool) -> None:
        """Raise UserError unless all is there that this format needs; names the extra."""
        if int8 and not self.quantises:
            raise UserError(
                f"the format '{self.name}' has no int8: its runtime quantises nothing by itself; "
                "expected onnx, openvino or executorch with --int8"
            )
        for module in (*self.needs, *(self.needs_for_int8 if int8 else ())):
            needed(module, self.name)


def needed(module: str, extra: str) -> ModuleType:
    """Import a module that a format needs.

    Raises:
        UserError: it is not installed, or is broken.
    """
    package = module.partition(".")[0]
    try:
        with quiet():
            return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"the format '{extra}' needs {package}, which cannot be imported; expected it "
            f"installed: pip install 'mstgraph[{extra}]'"
        ) from error
    except Exception as error:  # a library built for another torch raises what it likes
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{package} is installed, but importing it fails: {reason}; expected one that fits "
            f"torch {torch.__version__}"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what libraries say to whoever develops them, and their bars, off the user's screen."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def facts_as_text(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return facts as every format can hold them: lists with one entry a line."""
    return {
        name: value if isinstance(value, str) else "\n".join(map(one_line, value))
        for name, value in facts.items()
    }
