"""What a run leaves on disk, and what of it can be used again.

``config.gin``, ``plan.json``, ``summary.json``, ``student-NAME.safetensors``, and one folder per
stage with weights, ``metrics.jsonl``, TensorBoard events, ``samples.npz`` (what each test sample
contributes to the metrics) and, last of all, ``artefact.json``: a stage without one is not
finished, whatever else lies there. A finished stage that is trained again, because something
changed, stays as it is until the new one is finished in a folder of its own inside it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from mstgraph.certainty.samples import SAMPLES, load_samples, save_samples
from mstgraph.run.artefacts.changes import changes
from mstgraph.run.artefacts.forms import Artefact
from mstgraph.stages.stage import StageNode
from mstgraph.support.disk.descriptions import DIGEST, read_description, write_description
from mstgraph.support.disk.locks import held
from mstgraph.support.disk.own_folder import LOCK, OwnFolder, make_folder, refuse_links
from mstgraph.support.errors import UserError
from mstgraph.support.files import explained, file_digest, known_digest, read_json
from mstgraph.support.weights import check_weights, load_weights, save_weights

ARTEFACT = "artefact.json"
CONFIG = "config.gin"
PLAN = "plan.json"
SUMMARY = "summary.json"
METRICS = "metrics.jsonl"
STAGES = "stages"  # folder of what stages leave, each below its name
OWN_EVENTS = ".mstgraph"  # end of a file of events: what others put beside it stays
EVENTS = f"events.out.tfevents.*{OWN_EVENTS}"
NEW = ".new"  # in the folder of a finished stage: the one that is to take its place
WINNER = "winner.gin"  # what `mstgraph tune` leaves in place of all these


def no_run(path: Path, why: str) -> UserError:
    """Return what is said of a folder that holds no run.

    Args:
        path: the folder; of a search the sentence names the command that makes a run of it.
        why: what a run's folder has and this has not.
    """
    winner = path / WINNER
    if winner.is_file():
        why = "is a search, whose trials are no runs"
        return UserError(f"'{path}' {why}; expected the folder that 'mstgraph run {winner}' leaves")
    return UserError(f"'{path}' {why}; expected the folder of a run")


@contextmanager
def locked(path: Path, own: OwnFolder | None = None) -> Iterator[None]:
    """Create a folder and hold it, so that two runs never write into one.

    Args:
        path: the folder.
        own: refuses what is not mstgraph's own; None for folders inside one that is.

    Raises:
        InUse: another process holds it.
        UserError: it is not mstgraph's own, or cannot be written.
    """
    sentence = (
        f"another process is running in '{path}'; wait for it, or choose another place with --out"
    )
    if own is not None:
        own.refuse_foreign()
    with ExitStack() as stack:
        with explained(path):
            path.mkdir(parents=True, exist_ok=True)
            refuse_links(path / LOCK, path / f"{LOCK}.marker")
            stack.enter_context(held(path / LOCK, sentence))
        if own is not None:
            own.claim()
        yield


def student_files(target: str) -> tuple[str, str]:
    """Return the names of a student's weights and of its description."""
    return f"student-{target}.safetensors", f"student-{target}.json"


def _earlier_run(path: Path) -> list[str] | None:
    """Return what an earlier version, which kept no record, made in a run's folder."""
    try:
        plan = read_json(path / PLAN)
    except UserError:
        return None
    if not (path / CONFIG).is_file() or not isinstance(plan, dict):
        return None
    targets, stages = plan.get("targets"), plan.get("stages")
    if not isinstance(targets, list) or not isinstance(stages, list):
        return None
    modules = [str(file.relative_to(path)) for file in path.rglob("*.py")]
    students = [name for target in targets for name in student_files(str(target))]
    return [CONFIG, PLAN, SUMMARY, *students, *modules]


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
        self.own = OwnFolder(path, "run", _earlier_run)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder and hold it (`locked`); it is a run's, or empty."""
        with locked(self.path, self.own):
            yield

    def stage(self, name: str) -> Path:
        """Return a finished stage's folder."""
        return self.places.get(name, self.path / STAGES / name)

    def under_way(self, name: str) -> Path:
        """Return the folder of a stage that is being trained."""
        folder = self.stage(name)
        return folder / NEW if (folder / ARTEFACT).is_file() else folder

    def artefact(self, name: str) -> dict[str, Any] | None:
        """Return a stage's artefact, or None if the stage was never finished here.

        Raises:
            UserError: its description is damaged.
        """
        artefact = self._written(name)
        if artefact is not None:
            parts = artefact.keys() & {"validation", "test"}
            artefact |= {part: _measured(artefact[part]) for part in parts}
        return artefact

    def finished(self, name: str) -> dict[str, Any]:
        """Return the artefact of a stage that was finished by now.

        Raises:
            UserError: it is not there any more, or damaged.
        """
        artefact = self.artefact(name)
        if artefact is None:
            raise UserError(
                f"stage {name} is not in '{self.stage(name)}' any more: its folder was removed "
                "while mstgraph was at work; give the same command again"
            )
        return artefact

    def state(self, node: StageNode) -> tuple[bool, str]:
        """Return whether a finished stage can be used again, and why not.

        Raises:
            UserError: its description is damaged.
        """
        artefact = self._written(node.name)
        if artefact is None:
            return False, ""
        if artefact["hash"] == node.hash:
            return True, ""
        reasons = changes(artefact.get("identity", {}), json.loads(json.dumps(node.identity)))
        return False, "; ".join(reasons[:3]) + ("; …" if len(reasons) > 3 else "")

    def begin(self, node: StageNode) -> Path:
        """Return the folder of a stage that is about to be trained; a finished one stays."""
        self.settle(node.name)
        folder = self.under_way(node.name)
        root = self.path if node.name not in self.places else self.stage(node.name).parent
        make_folder(root, folder)
        return folder

    def samples(self, name: str) -> dict[str, np.ndarray]:
        """Return response → what each test sample contributes; {} of a stage that left nothing.

        Raises:
            UserError: they are damaged, or another stage's.
        """
        return load_samples(self._samples_file(name))

    def marks(self, name: str) -> dict[str, np.ndarray]:
        """Return response → where it is right in each test sample, of a stage that left it."""
        return load_samples(self._samples_file(name), "marks")

    def statistics(self, name: str) -> dict[str, np.ndarray]:
        """Return statistic → its value of each test sample, of a stage that has its own."""
        return load_samples(self._samples_file(name), "statistics")

    def _samples_file(self, name: str) -> Path:
        path = self.stage(name) / SAMPLES
        expected = (self._written(name) or {}).get("samples")
        if expected is not None and path.is_file() and known_digest(path) != expected:
            raise UserError(
                f"what test samples contribute, '{path}', is not what stage {name} left; "
                f"{_again(path)}"
            )
        return path

    def finish(
        self,
        node: StageNode,
        modules: Mapping[str, nn.Module],
        result: Mapping[str, Any],
        contributions: Mapping[str, np.ndarray] | None = None,
        marks: Mapping[str, np.ndarray] | None = None,
        statistics: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Write the weights that a stage leaves, and last the artefact that makes it count.

        Args:
            node: the stage.
            modules: name of a part → its network.
            result: what the artefact says.
            contributions: response → what each test sample contributes, where that is known.
            marks: response → where it is right in each test sample, likewise.
            statistics: statistic of the stage's own → its value of each test sample, likewise.
        """
        folder = self.under_way(node.name)
        weights = {
            name: save_weights(folder / f"{name}.safetensors", modules[name])
            for name in node.leaves
        }
        save_samples(folder / SAMPLES, contributions or {}, marks, statistics)
        artefact = {
            "hash": node.hash,
            "kind": node.kind,
            **result,
            "weights": weights,
            "samples": file_digest(folder / SAMPLES),
            "files": [
                *(f"{name}.safetensors" for name in weights),
                SAMPLES,
                METRICS,
                *sorted(path.name for path in folder.glob(EVENTS)),
            ],
            "identity": node.identity,
        }
        write_description(folder / ARTEFACT, artefact)
        self.settle(node.name)

    def settle(self, name: str) -> None:
        """Put a finished stage in the place of the one that it replaces; a kill may come between.

        Its artefact comes last: until then the old one is found, and the same is done again.
        """
        folder, new = self.stage(name), self.stage(name) / NEW
        if not (new / ARTEFACT).is_file():
            return
        refuse_links(folder, new)
        old, own = _left(folder), _left(new)
        with explained(folder):
            for name in old - own:
                (folder / name).unlink(missing_ok=True)
            for name in sorted(own):
                if (new / name).exists():  # else an earlier attempt came as far as this
                    os.replace(new / name, folder / name)
            for rest in {path.name for path in new.iterdir()} - {ARTEFACT}:
                (new / rest).unlink()
            os.replace(new / ARTEFACT, folder / ARTEFACT)
            new.rmdir()

    def digests(self) -> dict[str, str]:
        """Return stage → digest of its description, for those that are finished."""
        found = {}
        for path in sorted(self.path.glob(f"{STAGES}/*/{ARTEFACT}")):
            content = read_json(path, _again(path))
            found[path.parent.name] = content.get(DIGEST, "") if isinstance(content, dict) else ""
        return found

    def refuse_replaced(self, names: Sequence[str]) -> None:
        """Refuse stages whose descriptions are not those that the run's plan names.

        Raises:
            UserError: one was put in the place of what this run left.
        """
        try:
            planned = {s["name"]: s for s in read_json(self.path / PLAN)["stages"]}
        except (UserError, KeyError, TypeError):  # it is written anew; nothing depends on it
            return
        found = self.digests()
        for name in (name for name in names if name in found):
            expected = planned.get(name, {}).get("artefact")
            if expected and expected != found[name]:
                path = self.stage(name) / ARTEFACT
                raise UserError(
                    f"'{path}' is not the one that '{self.path / PLAN}' names: it was replaced; "
                    f"{_again(path)}"
                )

    def _written(self, name: str) -> dict[str, Any] | None:
        path = self.stage(name) / ARTEFACT
        if not path.is_file():
            return None
        found: dict[str, Any] = read_description(path, Artefact, _again(path))
        return found

    def refuse_damaged(self, stage: str) -> None:
        """Refuse to use a finished stage again whose weights are not as it left them.

        Raises:
            UserError: they are missing, damaged, or those of another stage.
        """
        for part, digest in (self._written(stage) or {}).get("weights", {}).items():
            path = self.stage(stage) / f"{part}.safetensors"
            check_weights(path, _again(path), digest)

    def load(self, stage: str, part: str, module: nn.Module) -> None:
        """Load the weights that a finished stage left for a part.

        Raises:
            UserError: they are missing, damaged, of another network, or of another stage.
        """
        path = self.stage(stage) / f"{part}.safetensors"
        expected = (self._written(stage) or {}).get("weights", {}).get(part)
        load_weights(path, module, _again(path), expected)


def _again(path: Path) -> str:
    """Say how to have the stage trained again that left a file."""
    return f"remove '{path.with_name(ARTEFACT)}' to have its stage trained again"


def _left(folder: Path) -> set[str]:
    """Return the names that a finished stage left in its folder, as far as it says so."""
    try:
        artefact = read_json(folder / ARTEFACT)
    except UserError:
        return set()
    if not isinstance(artefact, dict):
        return set()
    if not isinstance(artefact.get("files"), list):  # of an earlier version
        return {path.name for path in folder.glob("events.out.tfevents.*")}
    return {name for name in artefact["files"] if Path(name).name == name}


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
