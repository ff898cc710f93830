"""ONNX, run by ONNX Runtime (https://onnxruntime.ai)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import torch

from mstgraph.export.format import Answer, Format, Model, Sample, needed, quiet

NORMALISES = {"Cast", "Mul", "Add"}  # what a student does to raw values before its first layer


class Onnx(Format):
    """One ``.onnx`` file."""

    name: ClassVar[str] = "onnx"
    title: ClassVar[str] = "ONNX Runtime"
    suffix: ClassVar[str] = ".onnx"
    needs: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime", "onnxscript")
    runtime: ClassVar[str] = "onnxruntime"

    def write(self, model: Model, path: Path) -> None:
        """Write the graph that torch.export gives."""
        program = model.exported()
        with quiet():
            written = torch.onnx.export(
                program,
                input_names=list(model.modalities),
                output_names=[model.network.output],
                dynamo=True,
                verbose=False,
            )
        assert written is not None
        proto = written.model_proto
        _tidy(proto)
        _save(proto, model, path)

    def quantise(self, model: Model, plain: Path, path: Path, samples: Sequence[Sample]) -> None:
        """Write weights in eight bits for each channel, activations in eight bits (QDQ)."""
        onnx, tools = needed("onnx", self.name), needed("onnxruntime.quantization", self.name)
        shapes = needed("onnxruntime.quantization.shape_inference", self.name)
        with TemporaryDirectory() as folder, quiet():
            prepared = Path(folder, "prepared.onnx")
            shapes.quant_pre_process(plain, prepared, skip_symbolic_shape=True)
            tools.quantize_static(
                prepared,
                path,
                _reader(tools, model.modalities, samples),
                quant_format=tools.QuantFormat.QDQ,
                per_channel=True,
                nodes_to_exclude=_normalising(onnx.load(prepared)),
            )
        _save(onnx.load(path), model, path)

    def answer(self, path: Path, threads: int) -> Answer:
        """Return what runs the file on the processor."""
        runtime = needed("onnxruntime", self.name)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        session = runtime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        names = [given.name for given in session.get_inputs()]
        return lambda *values: session.run(None, dict(zip(names, values, strict=True)))[0]


def _tidy(proto: Any) -> None:
    """Name the batch, and leave out where on this machine each node comes from."""
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
        del value.metadata_props[:]
    for item in (*proto.graph.node, *proto.graph.initializer):
        del item.metadata_props[:]
    del proto.graph.value_info[:]
    del proto.graph.metadata_props[:]


def _save(proto: Any, model: Model, path: Path) -> None:
    onnx = needed("onnx", Onnx.name)
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, dict(model.facts))
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


def _reader(tools: Any, names: Sequence[str], samples: Sequence[Sample]) -> Any:
    """Return what hands samples to ONNX Runtime one by one."""
    rows = iter(samples)

    class Reader(tools.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            values = next(rows, None)
            return None if values is None else dict(zip(names, values, strict=True))

    return Reader()


def _normalising(proto: Any) -> list[str]:
    """Return the nodes before the first layer: eight bits are too few for raw values."""
    found: list[str] = []
    known = {item.name for item in proto.graph.input}
    for node in proto.graph.node:
        if node.op_type in NORMALISES and known.intersection(node.input):
            found.append(node.name)
            known.update(node.output)
    return found
