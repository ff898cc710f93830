"""Every format gives torch's answers to raw values of any batch; one that lacks says so."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mstgraph.export.export import DEPLOYED, FORMATS
from mstgraph.export.format import Deployed, Model
from mstgraph.support.errors import UserError


class Tiny(nn.Module):
    """Normalises maps of bytes, then a convolution and a layer; numbers have a layer of theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 2 * 3, 5)
        )
        self.beside = nn.Linear(3, 5)

    def forward(self, values: Tensor, numbers: Tensor) -> Tensor:
        """Return [batch, 5]."""
        return self.network(values.to(torch.float32) * 0.01 - 1) + self.beside(numbers * 2 + 1)


FACTS = {"classes": "a\nb\nc\nd\ne", "output": "probabilities", "answers": "classes"}
DRAW = np.random.default_rng(0)
VALUES = (DRAW.integers(0, 256, (9, 2, 4, 5), np.uint8), DRAW.random((9, 3), np.float32))


def first(count: int) -> tuple[np.ndarray, ...]:
    """The first samples of both modalities."""
    return tuple(values[:count] for values in VALUES)


@pytest.fixture(scope="module")
def model() -> Model:
    """A network that leaves, with probabilities."""
    torch.manual_seed(0)
    network = Deployed(Tiny(), "probabilities").eval()
    example = tuple(map(torch.from_numpy, first(2)))
    return Model(network, ("rgb", "touch"), example, 9, FACTS)


def samples() -> list[tuple[np.ndarray, ...]]:
    """Each sample by itself."""
    return [tuple(own[i : i + 1] for own in VALUES) for i in range(9)]


def expected(model: Model, count: int) -> np.ndarray:
    """What torch says."""
    with torch.no_grad():
        return np.asarray(model.network(*map(torch.from_numpy, first(count))))


def check(answer: Callable[..., np.ndarray], model: Model, tolerance: float) -> None:
    """Compare batches of one, two and nine; probabilities sum to 1."""
    for count in (1, 9, 2):
        found = answer(*first(count))
        np.testing.assert_allclose(found, expected(model, count), atol=tolerance)
        np.testing.assert_allclose(found.sum(1), 1, atol=max(1e-5, tolerance))


def test_torch_export_runs_without_the_networks_code(model: Model, tmp_path: Path) -> None:
    """It holds the graph, and what it says of itself."""
    chosen, path = FORMATS["torch"], tmp_path / "a.pt2"
    chosen.write(model, path)
    check(chosen.answer(path, 1), model, 1e-6)
    extra = {"classes": ""}
    torch.export.load(path, extra_files=extra)
    assert extra["classes"] == model.facts["classes"]


def test_onnx_and_its_page_take_a_file_of_each_modality(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """In their order, in both precisions; one too few is told."""
    chosen, plain, small = FORMATS["onnx"], tmp_path / "plain.onnx", tmp_path / "small.onnx"
    chosen.write(model, plain)
    chosen.quantise(model, plain, small, samples())
    check(chosen.answer(plain, 1), model, 1e-5)
    check(chosen.answer(small, 1), model, 0.1)
    for name, values in zip(("rgb", "touch"), VALUES, strict=True):
        np.save(tmp_path / f"{name}.npy", values)
    files = [str(tmp_path / f"{name}.npy") for name in ("rgb", "touch")]
    monkeypatch.setattr("sys.argv", ["predict.py", str(plain), *files])
    runpy.run_path(str(DEPLOYED), run_name="__main__")
    said = [line.split()[1:3] for line in capsys.readouterr().out.splitlines()]
    answers = expected(model, 9)
    assert said == [["abcde"[row.argmax()], f"{row.max():.3f}"] for row in answers]
    monkeypatch.setattr("sys.argv", ["predict.py", str(plain), files[0]])
    with pytest.raises(SystemExit, match="expected values of each of rgb, touch, in this order"):
        runpy.run_path(str(DEPLOYED), run_name="__main__")


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("openvino", ("openvino", "nncf")),
        ("executorch", ("executorch.exir", "torchao.quantization.pt2e")),
    ],
)
def test_formats_of_extras(
    name: str, modules: tuple[str, ...], model: Model, tmp_path: Path
) -> None:
    """In single precision, and in eight bits, whose error stays small."""
    for module in modules:
        pytest.importorskip(module, reason=f"the extra '{name}' is not installed")
    chosen = FORMATS[name]
    plain, small = (tmp_path / f"{stem}{chosen.suffix}" for stem in ("plain", "small"))
    chosen.write(model, plain)
    check(chosen.answer(plain, 1), model, 1e-5)
    chosen.quantise(model, plain, small, samples())
    check(chosen.answer(small, 1), model, 0.1)
    assert all(path.is_file() for path in chosen.files(small))


def test_a_graph_is_traced_again_with_all_its_inputs(model: Model) -> None:
    """As it is to be quantised by ExecuTorch: of any batch, and of one or several modalities."""
    again = model.traced(model.exported(9).module(), 9).module()
    for count in (1, 9):
        found = again(*map(torch.from_numpy, first(count)))
        np.testing.assert_allclose(found.detach(), expected(model, count), atol=1e-6)


def test_what_openvino_cannot_write_is_told_in_a_sentence(model: Model, tmp_path: Path) -> None:
    """Its own word for a full disk, or a place that is none, is an error of its insides."""
    pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"OpenVINO cannot write 'plain\.xml' \(.*nothing was"):
        FORMATS["openvino"].write(model, tmp_path / "file" / "plain.xml")


@pytest.mark.parametrize("name", ["onnx", "openvino", "executorch"])
def test_a_missing_library_is_named_with_its_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one sentence, before any work."""
    package = FORMATS[name].needs[0].partition(".")[0]
    for module in [package, *(m for m in sys.modules if m.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"needs {package}.*pip install 'mstgraph\[{name}\]'"):
        FORMATS[name].check_installed(int8=False)


def test_a_network_that_asks_for_its_values_cannot_be_exported(model: Model) -> None:
    """What its answer depends on is in no graph."""

    class Asks(Tiny):
        def forward(self, values: Tensor, numbers: Tensor) -> Tensor:
            return super().forward(values, numbers) if values.float().mean() > 0 else numbers

    asks = Model(Deployed(Asks(), "logits"), model.modalities, model.example, 9, {})
    with pytest.raises(UserError, match=r"Asks of 'rgb \+ touch' cannot be exported: "):
        asks.exported()
