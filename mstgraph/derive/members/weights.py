"""Weights that a member starts from: which file, and which of its tensors the network takes.

A backbone's names often have a prefix (``module.``), and its head another size: what fits is taken,
and what did not come is told. Nothing is loaded before the network is built.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from mstgraph.declare.configuration import Configuration, find_file, find_folder
from mstgraph.derive.members.translation import aligned, fits, translated
from mstgraph.distil.frozen import is_within
from mstgraph.support.disk.descriptions import read_description
from mstgraph.support.disk.states import INDEX, SAFETENSORS, SUFFIXES, read_states, states_digest
from mstgraph.support.errors import UserError, nearest
from mstgraph.support.text import shape_in_words

SHOWN = 3  # names in a sentence
COUNTERS = "num_batches_tracked"  # of batch normalisation: older files lack it, nothing reads it
PLAN = "plan.json"  # what makes a folder that of a run


@dataclass(frozen=True)
class Weights:
    """What a member's network takes of a file.

    Attributes:
        given: what the gin file says.
        digest: of the file's content.
        taken: name in the network → name in the file.
        missing: names in the network that stay as they were initialised.
        left: name in the file → why it was not taken.
        path: the file; None in a finished run, which needs it no more.
        adapted: names in the network whose values have another shape in the file, which the
            network itself brought to its own (`translated`).
        parts: paths of the network's parts, each of which starts from the file; empty for one.
    """

    given: str
    digest: str
    taken: Mapping[str, str]
    missing: tuple[str, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)
    path: Path | None = None
    adapted: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    def load(self, network: nn.Module) -> None:
        """Put what fits into a network.

        Raises:
            UserError: the file is gone, or is another one by now.
        """
        if not self.taken:  # a file of answers is read beside the data
            return
        if self.path is None or not self.path.is_file():
            raise UserError(f"the weights '{self.given}' are not there any more, and are needed")
        if states_digest(self.path) != self.digest:
            raise UserError(f"the weights '{self.given}' were replaced after this run was planned")
        states, own = translated(read_states(self.path), network).values, network.state_dict()
        with torch.no_grad():
            for name, key in self.taken.items():
                own[name].copy_(states[key])

    def in_words(self) -> str:
        """Return what the network starts from, and what of the file it does not take."""
        total = len(self.taken) + len(self.missing)
        count = f"all {total}" if not self.missing else f"{len(self.taken)} of {total}"
        missing = f"; as initialised: {_some(self.missing)}" if self.missing else ""
        parts = f", each of {', '.join(self.parts)}" if self.parts else ""
        adapted = f"; fitted to its channels: {_some(self.adapted)}" if self.adapted else ""
        reasons = [f"{name} ({reason})" for name, reason in self.left.items()]
        left = f"; left in the file: {_some(reasons)}" if reasons else ""
        return f"{count} tensors from '{self.given}'{parts}{adapted}{missing}{left}"

    def document(self) -> dict[str, Any]:
        """Return it as plain data, as a run's plan records it."""
        names = ("given", "digest", "taken", "missing", "left")
        more = {"adapted": self.adapted, "parts": self.parts}
        said = {name: getattr(self, name) for name in names}
        return said | {name: found for name, found in more.items() if found}


def recorded(document: Mapping[str, Any]) -> Weights:
    """Return what a run's plan records of a member's weights: `Weights.document`."""
    tuples = {name: tuple(document.get(name, ())) for name in ("missing", "adapted", "parts")}
    return Weights(**{**document, **tuples})


def fitting_weights(given: str, path: Path, network: nn.Module) -> Weights:
    """Find what a network takes of a file.

    Args:
        given: what the gin file says.
        path: the file.
        network: on any device; nothing is loaded.

    Raises:
        UserError: the file cannot be read, or nothing of it fits.
    """
    found, own = translated(read_states(path), network), network.state_dict()
    states = found.values
    renamed = aligned(states, own)
    taken = {name: key for key, name in renamed.items() if fits(name, states[key], own)}
    used = set(taken.values())
    left = {k: _reason(renamed.get(k), states[k], own) for k in states if k not in used}
    missing = tuple(name for name in own if name not in taken and not name.endswith(COUNTERS))
    # Vectors and counters fit many networks by chance: alone they are nothing.
    if not any(own[name].dim() > 1 for name in taken):
        there = [f"{name} {shape_in_words(value.shape)}" for name, value in states.items()]
        here = [f"{name} {shape_in_words(value.shape)}" for name, value in own.items()]
        raise UserError(
            f"nothing of the weights '{given}' fits the network {type(network).__name__}: they "
            f"hold {_some(there)}; expected {_some(here)}"
        )
    adapted = tuple(name for name, key in taken.items() if key in found.adapted)
    return Weights(given, states_digest(path), taken, missing, left, path, adapted, found.parts)


def refuse_partial(weights: Weights) -> None:
    """Refuse weights of which a network that is not trained lacks some.

    Raises:
        UserError: names them.
    """
    if weights.missing:
        raise UserError(
            f"it is not trained, but '{weights.given}' lacks {_some(weights.missing)} of its "
            "network, which would stay random; expected all of its weights, or that it is trained"
        )


def refuse_random(weights: Weights, network: nn.Module, frozen: Sequence[str]) -> None:
    """Refuse weights that lack some of what never trains and would be random for ever.

    What is no matrix begins at ones or zeros: batch normalisation that a file lacks passes on.

    Raises:
        UserError: names them.
    """
    own = network.state_dict()
    found = [n for n in weights.missing if own[n].dim() > 1 and is_within(n, frozen)]
    if found:
        raise UserError(
            f"'{weights.given}' lacks {_some(found)}, which is frozen and would stay random; "
            "expected weights that hold it in the network's own shape, or fewer frozen modules"
        )


def _some(names: Collection[str]) -> str:
    shown, more = [*names][:SHOWN], len(names) - SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _reason(name: str | None, value: Tensor, own: Mapping[str, Tensor]) -> str:
    if name is None or name not in own:
        return "no such name in the network"
    found, expected = shape_in_words(value.shape), shape_in_words(own[name].shape)
    return f"{found}, the network has {expected}"


def find_weights(
    given: str, members: Sequence[str], place: str, configuration: Configuration
) -> Path:
    """Return the file that a member's weights name.

    Args:
        given: a file, a folder with one weights file, or the folder of a finished run, whose
            student or member of the same name is meant.
        members: whose, the first of whom the run has.
        place: where it is written.
        configuration: knows the given gin file.

    Raises:
        UserError: there is no such thing.
    """
    name = os.path.expanduser(os.path.expandvars(given))
    if "://" in name:
        return _fetched(name, place)
    folder = Path(name) if Path(name).is_dir() else find_folder(name, configuration)
    if folder is None:
        try:
            return find_file(name, place, configuration)
        except UserError as error:
            there = [str(path) for path in Path(name).parent.glob("*") if _may_be_meant(path)]
            raise UserError(
                f"{place}: there are no weights '{given}', expected a file, a folder or a finished "
                f"run{nearest(name, there)}"
            ) from error
    return _of_run(folder, members, place) if (folder / PLAN).is_file() else _only(folder, place)


def _may_be_meant(path: Path) -> bool:
    return path.suffix in SUFFIXES or path.name.endswith(INDEX) or (path / PLAN).is_file()


def _fetched(url: str, place: str) -> Path:
    """Return torch's own copy of what lies at a URL, fetched once."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except Exception as error:  # whatever a network says
            raise UserError(
                f"{place}: the weights '{url}' cannot be fetched ({error}), and '{path}' is not "
                "there; expected a network, or that file"
            ) from error
    return path


def _only(folder: Path, place: str) -> Path:
    lists = sorted(folder.glob(f"*{INDEX}"))
    found = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    if len(lists) == 1:  # the others are its parts
        return lists[0]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UserError(
            f"{place}: the folder '{folder}' is no run and holds not one file of weights but "
            f"{names}; name the file"
        )
    return found[0]


class _Stage(TypedDict):
    name: str
    kind: str
    trains: list[str]


class _Plan(TypedDict):
    stages: list[_Stage]


def _of_run(run: Path, members: Sequence[str], place: str) -> Path:
    """Return what a run left of the first of some members that it has, the newest."""
    left = _left_by(run)
    known = [name for name in left if "." not in name]
    member = next((name for name in members if name in left), None)
    if member is None:
        raise UserError(
            f"{place}: the run '{run}' has no member '{members[0]}'{nearest(members[0], known)}; "
            "of a member of another name, name the file"
        )
    if not left[member].is_file():
        raise UserError(f"{place}: the run '{run}' has not trained its member '{member}' yet")
    return left[member]


def _left_by(run: Path) -> dict[str, Path]:
    """Return member → the file that a finished run left of it: of a student, else by a stage."""
    stages = read_description(run / PLAN, _Plan, "name a file of weights")["stages"]
    left = {
        part: run / "stages" / stage["name"] / f"{part}{SAFETENSORS}"
        for stage in stages
        if stage["kind"] != "alone"
        for part in (*stage["trains"], *stage.get("takes", ()))
    }
    students = {name: run / f"student-{name}{SAFETENSORS}" for name in left}
    return {**left, **{name: path for name, path in students.items() if path.is_file()}}
