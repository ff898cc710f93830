"""ExecuTorch (https://pytorch.org/executorch), lowered to XNNPACK, for phones and small devices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from mstgraph.export.format import Answer, Format, Model, Sample, needed, quiet
from mstgraph.support.errors import UserError

XNNPACK = "executorch.backends.xnnpack"


class ExecuTorch(Format):
    """One ``.pte`` file, which holds its memory plan: the largest batch is that of the export."""

    name: ClassVar[str] = "executorch"
    title: ClassVar[str] = "ExecuTorch"
    suffix: ClassVar[str] = ".pte"
    needs: ClassVar[tuple[str, ...]] = ("executorch.exir", "executorch.runtime")
    needs_for_int8: ClassVar[tuple[str, ...]] = ("torchao.quantization.pt2e.quantize_pt2e",)
    runtime: ClassVar[str] = "executorch"

    def write(self, model: Model, path: Path) -> None:
        """Write the graph that torch.export gives, what XNNPACK can take handed to it."""
        self._lower(model.exported(model.largest), path)

    def quantise(self, model: Model, plain: Path, path: Path, samples: Sequence[Sample]) -> None:
        """Write weights in eight bits for each channel, activations in eight bits (PT2E).

        The network alone: eight bits are too few for the raw values before it.
        """
        tools = needed(self.needs_for_int8[0], self.name)
        chosen = needed(f"{XNNPACK}.quantizer.xnnpack_quantizer", self.name)
        setting = chosen.get_symmetric_quantization_config(is_per_channel=True)
        quantizer = chosen.XNNPACKQuantizer().set_module_name("student.network", setting)
        with quiet():
            prepared = tools.prepare_pt2e(model.exported(model.largest).module(), quantizer)
            for values in samples:
                prepared(*map(torch.from_numpy, values))
            program = model.traced(tools.convert_pt2e(prepared), model.largest)
        self._lower(program, path)

    def answer(self, path: Path, threads: int) -> Answer:
        """Return what runs the file; ExecuTorch has a pool of threads of its own, of all cores."""
        runtime = needed("executorch.runtime", self.name).Runtime.get()
        program = runtime.load_program(path)
        method = program.load_method("forward")

        def run(*values: np.ndarray) -> np.ndarray:
            try:
                (outputs,) = method.execute([*map(torch.from_numpy, values)])
            except RuntimeError as error:
                reason = str(error).partition("\n")[0]
                raise UserError(
                    f"ExecuTorch refuses a batch of {len(values[0])} ({reason}): its compiler has "
                    "settled for smaller ones; expected a smaller --batch, such as 8"
                ) from error
            return np.asarray(outputs.numpy()).copy()

        return run

    def _lower(self, program: torch.export.ExportedProgram, path: Path) -> None:
        exir = needed("executorch.exir", self.name)
        partitioner = needed(f"{XNNPACK}.partition.xnnpack_partitioner", self.name)
        with quiet():
            lowered = exir.to_edge_transform_and_lower(
                program, partitioner=[partitioner.XnnpackPartitioner()]
            )
            path.write_bytes(lowered.to_executorch().buffer)
