"""What a run leaves on disk, and what of it can be used again.

``config.gin``, ``plan.json``, ``summary.json``, ``student-NAME.safetensors``, and one folder per
stage with weights, ``metrics.jsonl``, TensorBoard events, ``samples.npz`` (what each test sample
contributes to the metrics) and, last of all, ``artefact.json``: a stage without one is not
finished, whatever else lies there.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from mstgraph.certainty.samples import SAMPLES, load_samples, save_samples
from mstgraph.run.artefacts.changes import changes
from mstgraph.stages.stage import StageNode
from mstgraph.support.files import explained, read_json, write_json
from mstgraph.support.locks import held
from mstgraph.support.weights import load_weights, save_weights

ARTEFACT = "artefact.json"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Create a folder and hold it, so that two runs never write into one.

    Raises:
        InUse: another process holds it.
        UserError: it cannot be written.
    """
    sentence = (
        f"another process is running in '{path}'; wait for it, or choose another place with --out"
    )
    with ExitStack() as stack:
        with explained(path):
            path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(path / ".lock", sentence))
        yield


class RunFolder:
    """A run's directory.

    Args:
        path: the directory.
        places: stage → folder, for stages that do not lie below ``path`` but where other runs
            find them too.
    """

    def __init__(self, path: Path, places: Mapping[str, Path] | None = None):
        self.path = path
        self.places = places or {}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder and hold it (`locked`)."""
        with locked(self.path):
            yield

    def stage(self, name: str) -> Path:
        """Return a stage's folder."""
        return self.places.get(name, self.path / "stages" / name)

    def artefact(self, name: str) -> dict[str, Any] | None:
        """Return a stage's artefact, or None if the stage was never finished here."""
        artefact = self._written(name)
        if artefact is not None:
            artefact |= {part: _measured(artefact[part]) for part in ("validation", "test")}
        return artefact

    def state(self, node: StageNode) -> tuple[bool, str]:
        """Return whether a finished stage can be used again, and why not."""
        artefact = self._written(node.name)
        if artefact is None:
            return False, ""
        if artefact.get("hash") == node.hash:
            return True, ""
        reasons = changes(artefact.get("identity", {}), json.loads(json.dumps(node.identity)))
        return False, "; ".join(reasons[:3]) + ("; …" if len(reasons) > 3 else "")

    def begin(self, node: StageNode) -> Path:
        """Return the folder of a stage that is about to be trained, without stale results."""
        folder = self.stage(node.name)
        with explained(folder):
            if (folder / ARTEFACT).is_file():
                shutil.rmtree(folder)
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def samples(self, name: str) -> dict[str, np.ndarray]:
        """Return response → what each test sample contributes; {} of a stage that left nothing."""
        return load_samples(self.stage(name) / SAMPLES)

    def marks(self, name: str) -> dict[str, np.ndarray]:
        """Return response → where it is right in each test sample, of a stage that left it."""
        return load_samples(self.stage(name) / SAMPLES, "marks")

    def finish(
        self,
        node: StageNode,
        modules: Mapping[str, nn.Module],
        result: Mapping[str, Any],
        contributions: Mapping[str, np.ndarray] | None = None,
        marks: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Write the weights of the trained parts, and last the artefact that makes it count.

        Args:
            node: the stage.
            modules: name of a part → its network.
            result: what the artefact says.
            contributions: response → what each test sample contributes, where that is known.
            marks: response → where it is right in each test sample, likewise.
        """
        for name in node.trains:
            save_weights(self.stage(node.name) / f"{name}.safetensors", modules[name])
        save_samples(self.stage(node.name) / SAMPLES, contributions or {}, marks)
        artefact = {"hash": node.hash, "kind": node.kind, **result, "identity": node.identity}
        write_json(self.stage(node.name) / ARTEFACT, artefact)

    def _written(self, name: str) -> dict[str, Any] | None:
        path = self.stage(name) / ARTEFACT
        return read_json(path) if path.is_file() else None

    def load(self, stage: str, part: str, module: nn.Module) -> None:
        """Load the weights that a finished stage left for a part."""
        load_weights(self.stage(stage) / f"{part}.safetensors", module)


def _measured(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result with nan where a metric is undefined, which JSON has no word for."""
    metrics = {
        response: {name: math.nan if value is None else value for name, value in values.items()}
        for response, values in result["metrics"].items()
    }
    return {**result, "metrics": metrics}


def default_folder(name: str, seed: int) -> Path:
    """Return ``runs/NAME-seedN``: runs of different seeds stand side by side."""
    return Path("runs") / f"{name}-seed{seed}"
