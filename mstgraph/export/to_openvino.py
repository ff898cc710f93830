"""OpenVINO (https://docs.openvino.ai), quantised by NNCF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mstgraph.export.format import Answer, Format, Model, Sample, needed, quiet
from mstgraph.support.errors import UserError, users_code


class OpenVino(Format):
    """A graph, ``.xml``, and its weights beside it, ``.bin``."""

    name: ClassVar[str] = "openvino"
    title: ClassVar[str] = "OpenVINO"
    suffix: ClassVar[str] = ".xml"
    needs: ClassVar[tuple[str, ...]] = ("openvino",)
    needs_for_int8: ClassVar[tuple[str, ...]] = ("nncf",)
    runtime: ClassVar[str] = "openvino"

    def write(self, model: Model, path: Path) -> None:
        """Write the graph that torch.export gives, its weights in single precision."""
        openvino = needed("openvino", self.name)
        program = model.exported()
        with quiet(), users_code("OpenVINO cannot convert the network"):
            converted = openvino.convert_model(program)
        for given, name in zip(converted.inputs, model.modalities, strict=True):
            given.get_tensor().set_names({name})
        converted.outputs[0].get_tensor().set_names({model.network.output})
        _save(converted, model, path)

    def quantise(self, model: Model, plain: Path, path: Path, samples: Sequence[Sample]) -> None:
        """Write weights and activations in eight bits where OpenVINO has kernels for them."""
        openvino, nncf = needed("openvino", self.name), needed("nncf", self.name)
        read = openvino.Core().read_model(plain)
        named = [dict(zip(model.modalities, sample, strict=True)) for sample in samples]
        with quiet():
            quantised = nncf.quantize(read, nncf.Dataset(named), subset_size=max(1, len(samples)))
        _save(quantised, model, path)

    def answer(self, path: Path, threads: int) -> Answer:
        """Return what runs the file on the processor."""
        settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        compiled = needed("openvino", self.name).Core().compile_model(path, "CPU", settings)
        request = compiled.create_infer_request()
        return lambda *values: np.array(request.infer([*values])[0])

    def files(self, path: Path) -> tuple[Path, ...]:
        """Return the graph and the weights."""
        return path, path.with_suffix(".bin")


def _save(converted: Any, model: Model, path: Path) -> None:
    for name, value in model.facts.items():
        converted.set_rt_info(value, ["mstgraph", name])
    try:
        needed("openvino", OpenVino.name).save_model(converted, path, compress_to_fp16=False)
    except RuntimeError as error:  # of a full disk it says no more than "iostream error"
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"OpenVINO cannot write '{path.name}' ({reason}); expected enough space for temporary "
            f"files in '{path.parent}'; nothing was written"
        ) from error
