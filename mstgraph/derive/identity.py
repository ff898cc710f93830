"""Artefact identity: a hash of all that can change a stage's result."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

import gin

from mstgraph.declare.gin_state import registered
from mstgraph.declare.presence import absences
from mstgraph.declare.settings import Data, Engine
from mstgraph.derive.describe import callables, describe
from mstgraph.derive.parts import INITIAL, Parts
from mstgraph.derive.plan import Plan
from mstgraph.stages.node import Part
from mstgraph.stages.stage import StageNode
from mstgraph.support.files import file_digest, known_digest
from mstgraph.support.user_code import user_modules

# Raised whenever the meaning of an artefact changes with the same configuration.
FORMAT_VERSION = 1
DIGITS = 16  # of a hash
NETWORKS = "mstgraph.networks."
# Settings of stages that change nothing as they are by default.
LEFT_OUT: Sequence[tuple[str, object]] = (
    ("clip", None),
    ("accumulate", 1),
    ("rates", {}),
    ("decays", {}),
)
WHERE = ("resources",)  # settings of stages that say where it is trained, whatever they are
LONGEST_PATH = 4096  # longer text makes the system call fail


@dataclass(frozen=True)
class _Built:
    """What counts of a part, whatever stages it takes part in.

    Attributes:
        configured: how it is built, and the digest of its constructor's source.
        calls: scope/name → parameters of the configurables that it calls beside its own.
        constructor: what builds it.
        within: what the constructor is given and what it calls, as far as gin knows.
    """

    configured: Mapping[str, Any]
    calls: Mapping[str, Any]
    constructor: Callable[..., Any]
    within: Sequence[Callable[..., Any]]


def identify(plan: Plan, parts: Parts, data: Data, engine: Engine, fingerprint: str) -> Plan:
    """Return the plan with each stage's identity and hash filled in.

    Args:
        plan: the derived plan.
        parts: builds its parts; gives their configuration.
        data: the data's settings.
        engine: the engine's settings; some of them change numbers.
        fingerprint: of the store.
    """
    built_of = functools.cache(functools.partial(_built, parts))
    stages: dict[str, StageNode] = {}
    for name, node in plan.stages.items():
        built = {name: built_of(part) for name, part in node.parts.items()}
        identity = _identity(node, plan, parts, built, data, engine, fingerprint)
        identity["needs"] = {part: stages[stage].hash for part, stage in node.sources.items()}
        stages[name] = replace(node, identity=identity, hash=digest(identity))
    return replace(plan, stages=stages)


def _built(parts: Parts, part: Part) -> _Built:
    scope, constructor = parts.constructor(part)
    with gin.config_scope(scope):
        configured, within = _by_content(describe(constructor)), callables(constructor)
    calls = {}
    for (entered, selector), parameters in parts.calls(part).items():
        called = registered(selector)
        with gin.config_scope(entered or None):
            within += [called, *callables(parameters)]
            if inspect.unwrap(called) is not inspect.unwrap(constructor):
                calls[f"{entered}/{selector}"] = _by_content(describe(parameters))
    source = {"source": _source_digest(constructor)}
    branches = _sources_within(constructor, within)
    if part.kind == "network" and configured.get(INITIAL) and part.member in parts.weights:
        # As a finished run knows it, whose file is gone.
        configured[INITIAL] = f"file {parts.weights[part.member].digest[:DIGITS]}"
    return _Built({**configured, **source, **branches}, calls, constructor, within)


def _sources_within(
    constructor: Callable[..., Any], within: Sequence[Callable[..., Any]]
) -> dict[str, dict[str, str]]:
    """Return the digests of the package's networks that one names, such as a fused one's branches.

    A user's own count by their modules.
    """
    networks = {
        inspect.unwrap(found)
        for found in within
        if isinstance(found, type) and _module(found).startswith(NETWORKS)
    } - {inspect.unwrap(constructor)}
    digests = {network.__qualname__: _source_digest(network) for network in networks}
    return {"sources": digests} if digests else {}


def _identity(
    node: StageNode,
    plan: Plan,
    parts: Parts,
    built: Mapping[str, _Built],
    data: Data,
    engine: Engine,
    fingerprint: str,
) -> dict[str, Any]:
    losses = [teacher.loss for teacher in node.teachers]
    with gin.config_scope(node.scope or None):
        settings = _by_content(describe(node.settings))
        running = callables([node.settings, data.augmentation, data.task, *losses])
    settings["batch_size"] = node.settings.batch_size or data.batch_size
    settings = {k: v for k, v in settings.items() if (k, v) not in LEFT_OUT and k not in WHERE}
    members = {m: plan.graph.members[m] for m, p in node.parts.items() if p.kind == "network"}
    identity = {
        "format": FORMAT_VERSION,
        "kind": node.kind,
        "settings": settings,
        "parts": {name: found.configured for name, found in built.items()},
        "inputs": {name: list(member.inputs) for name, member in members.items()},
        "mutual": [list(pair) for pair in node.mutual],
        "student": node.student,
        "teachers": [[t.name, _by_content(describe(t.loss))] for t in node.teachers],
        "layers": {name: list(forward.taps) for name, forward in node.forwards.items()},
        "sources": {f.__qualname__: _source_digest(f) for f in running if is_dataclass(f)},
        "store": fingerprint,
        "split": data.split,
        "normalisation": describe(data.normalisation),
        "augmentation": _by_content(describe(data.augmentation)),
        "shuffle_block": data.shuffle_block,
        "precision": engine.precision,
        "cache_dtype": engine.cache_dtype,
        "seed": plan.graph.seed,
    }
    # What follows is left out where it is empty: where all labels count for the store's own task,
    # and where nothing but mstgraph's own networks is used.
    beyond = {
        "calls": {name: found.calls for name, found in built.items() if found.calls},
        "code": _code(list(built.values()), running),
        "task": _by_content(describe(data.task)),
        "task_options": describe(parts.task.options()) if data.task is None else {},
        "measured": list(parts.task.measure),
        "sampler": data.sampler,
        "weights": _starting_weights([m for m in members if m not in node.sources], parts),
        "frozen": {
            n: sorted(m.frozen) for n, m in members.items() if m.frozen and n in node.trains
        },
        "labelled": data.labelled,
        "labelled_per_batch": data.labelled_per_batch if node.settings.samples == "all" else None,
        **absences(data, members),
    }
    return {**identity, **{key: value for key, value in beyond.items() if value}}


def _starting_weights(members: Sequence[str], parts: Parts) -> dict[str, str]:
    """Return member → digest of the file that it starts from here, and how it is made to fit."""
    found = {name: parts.weights[name] for name in members if name in parts.weights}
    return {n: " ".join((w.digest[:DIGITS], *w.adapted, *w.parts)) for n, w in found.items()}


def _code(built: Sequence[_Built], running: Sequence[Callable[..., Any]]) -> dict[str, str]:
    """Return module → digest: of the user's modules behind a stage, but for digested sources."""
    constructors = [found.constructor for found in built]
    digested = [found for found in running if is_dataclass(found)] + constructors
    known = {_source_file(found) for found in digested}
    within = [called for found in built for called in found.within]
    modules: dict[str, Path] = {}
    for name in {_module(found) for found in (*running, *constructors, *within)}:
        modules |= user_modules(name)
    return {
        name: file_digest(file)[:DIGITS]
        for name, file in modules.items()
        if str(file.resolve()) not in known
    }


def _module(found: Callable[..., Any]) -> str:
    return getattr(inspect.unwrap(found), "__module__", None) or ""


def _by_content(value: Any) -> Any:
    """Weights to start from are named by path; their content counts, not their name."""
    if isinstance(value, dict):
        return {key: _by_content(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_by_content(item) for item in value]
    return _content_digest(value) if isinstance(value, str) and value else value


def _content_digest(text: str) -> str:
    """Return what a file or a folder of this name holds, or the text itself if there is none."""
    if len(text) > LONGEST_PATH or "\0" in text:
        return text
    # As networks find them: below the home folder, or where a variable of the shell says.
    path = Path(os.path.expanduser(os.path.expandvars(text)))
    try:
        if path.is_file():
            return f"file {known_digest(path)[:DIGITS]}"
        if path.is_dir() and not Path.cwd().is_relative_to(path.resolve()):
            return f"folder {_folder_digest(path)[:DIGITS]}"
    except OSError:  # a name that no file can have, or one that may not be read
        pass
    return text


def _folder_digest(folder: Path) -> str:
    """Return the hash of all files below a folder: names and content."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = [[path.relative_to(folder).as_posix(), known_digest(path)] for path in files]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _source_digest(constructor: Callable[..., Any]) -> str:
    """Digest of the source file, so that an edited network is never taken for the old one."""
    source = _source_file(constructor)
    return file_digest(Path(source))[:DIGITS] if source else ""


def _source_file(constructor: Callable[..., Any]) -> str:
    source = inspect.getsourcefile(inspect.unwrap(constructor))
    return _resolved(source) if source else ""


@functools.cache
def _resolved(path: str) -> str:
    return str(Path(path).resolve())


def digest(identity: Mapping[str, Any]) -> str:
    """Return the hash of plain data, 16 hexadecimal digits."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
