"""Every format gives torch's answers to raw values of any batch; one that lacks says so."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mstgraph.export.export import FORMATS
from mstgraph.export.format import Deployed, Model
from mstgraph.support.errors import UserError


class Tiny(nn.Module):
    """Normalises maps of bytes, then a convolution and a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 2 * 3, 5)
        )

    def forward(self, values: Tensor) -> Tensor:
        """Return [batch, 5]."""
        return self.network(values.to(torch.float32) * 0.01 - 1)


VALUES = np.random.default_rng(0).integers(0, 256, (9, 2, 4, 5), np.uint8)


@pytest.fixture(scope="module")
def model() -> Model:
    """A network that leaves, with probabilities."""
    torch.manual_seed(0)
    network = Deployed(Tiny(), "probabilities").eval()
    return Model(network, "rgb", torch.from_numpy(VALUES[:2]), 9, {"classes": "a\nb\nc\nd\ne"})


def expected(model: Model, values: np.ndarray) -> np.ndarray:
    """What torch says."""
    with torch.no_grad():
        return np.asarray(model.network(torch.from_numpy(values)))


def check(answer: Callable[[np.ndarray], np.ndarray], model: Model, tolerance: float) -> None:
    """Compare batches of one, two and nine; probabilities sum to 1."""
    for count in (1, 9, 2):
        found = answer(VALUES[:count])
        np.testing.assert_allclose(found, expected(model, VALUES[:count]), atol=tolerance)
        np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)


def test_torch_export_runs_without_the_networks_code(model: Model, tmp_path: Path) -> None:
    """It holds the graph, and what it says of itself."""
    chosen, path = FORMATS["torch"], tmp_path / "a.pt2"
    chosen.write(model, path)
    check(chosen.answer(path, 1), model, 1e-6)
    extra = {"classes": ""}
    torch.export.load(path, extra_files=extra)
    assert extra["classes"] == model.facts["classes"]


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
    chosen.quantise(model, plain, small, [VALUES[i : i + 1] for i in range(9)])
    check(chosen.answer(small, 1), model, 0.1)
    assert all(path.is_file() for path in chosen.files(small))


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
        def forward(self, values: Tensor) -> Tensor:
            return super().forward(values) if values.float().mean() > 0 else values.float()

    asks = Model(Deployed(Asks(), "logits"), "rgb", model.example, 9, {})
    with pytest.raises(UserError, match="Asks of 'rgb' cannot be exported: "):
        asks.exported()
