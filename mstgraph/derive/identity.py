"""Artefact identity: a hash of all that can change a stage's result, and the reasons it changed."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import gin

from mstgraph.declare.gin_state import registered
from mstgraph.declare.settings import Data, Engine
from mstgraph.derive.describe import callables, describe
from mstgraph.derive.parts import Parts
from mstgraph.derive.plan import Plan
from mstgraph.stages.node import Part
from mstgraph.stages.stage import StageNode
from mstgraph.support.files import file_digest, known_digest
from mstgraph.support.user_code import user_modules

# Raised whenever the meaning of an artefact changes with the same configuration.
FORMAT_VERSION = 1
DIGITS = 16  # of a hash
LONGEST_PATH = 4096  # longer text makes the system call fail


def identify(plan: Plan, parts: Parts, data: Data, engine: Engine, fingerprint: str) -> Plan:
    """Return the plan with each stage's identity and hash filled in.

    Args:
        plan: the derived plan.
        parts: builds its parts; gives their configuration.
        data: the data's settings.
        engine: the engine's settings; some of them change numbers.
        fingerprint: of the store.
    """
    stages: dict[str, StageNode] = {}
    for name, node in plan.stages.items():
        identity = _identity(node, plan, parts, data, engine, fingerprint)
        identity["needs"] = {part: stages[stage].hash for part, stage in node.sources.items()}
        stages[name] = replace(node, identity=identity, hash=digest(identity))
    return replace(plan, stages=stages)


def _identity(
    node: StageNode, plan: Plan, parts: Parts, data: Data, engine: Engine, fingerprint: str
) -> dict[str, Any]:
    with gin.config_scope(node.scope or None):
        settings = _by_content(describe(node.settings))
        running = _running(node, data)
    settings["batch_size"] = node.settings.batch_size or data.batch_size
    sources = {f.__qualname__: _source_digest(f) for f in running if is_dataclass(f)}
    losses = [[t.name, _by_content(describe(t.loss))] for t in node.teachers]
    identity = {
        "format": FORMAT_VERSION,
        "kind": node.kind,
        "settings": settings,
        "parts": {name: _part(parts, name, node) for name in node.parts},
        "inputs": {m: list(plan.graph.members[m].inputs) for m in _members(node)},
        "mutual": [list(pair) for pair in node.mutual],
        "student": node.student,
        "teachers": losses,
        "layers": {name: list(forward.taps) for name, forward in node.forwards.items()},
        "sources": sources,
        "store": fingerprint,
        "split": data.split,
        "normalisation": data.normalisation,
        "augmentation": _by_content(describe(data.augmentation)),
        "shuffle_block": data.shuffle_block,
        "precision": engine.precision,
        "cache_dtype": engine.cache_dtype,
        "seed": plan.graph.seed,
    }
    # What follows is left out where it is empty: where all labels count for the store's own task,
    # and where nothing but mstgraph's own networks is used.
    calls = {name: _calls(parts, part) for name, part in node.parts.items()}
    beyond = {
        "calls": {name: called for name, called in calls.items() if called},
        "code": _code(node, parts, running),
        "task": _by_content(describe(data.task)),
        "labelled": data.labelled,
    }
    return {**identity, **{key: value for key, value in beyond.items() if value}}


def _running(node: StageNode, data: Data) -> list[Callable[..., Any]]:
    """Return the classes and functions behind a stage: itself, its losses, what data names."""
    losses = [teacher.loss for teacher in node.teachers]
    return callables([node.settings, data.augmentation, data.task, *losses])


def _code(node: StageNode, parts: Parts, running: Sequence[Callable[..., Any]]) -> dict[str, str]:
    """Return module → digest: of the user's modules behind a stage, but for digested sources."""
    constructors = [parts.constructor(part)[1] for part in node.parts.values()]
    digested = [found for found in running if is_dataclass(found)] + constructors
    known = {_source_file(found) for found in digested}
    within = [found for part in node.parts.values() for found in _within(parts, part)]
    modules: dict[str, Path] = {}
    for name in {_module(found) for found in (*running, *constructors, *within)}:
        modules |= user_modules(name)
    return {
        name: file_digest(file)[:DIGITS]
        for name, file in modules.items()
        if str(file.resolve()) not in known
    }


def _within(parts: Parts, part: Part) -> list[Callable[..., Any]]:
    """Return what a part's constructor is given and what it calls, as far as gin knows."""
    scope, constructor = parts.constructor(part)
    with gin.config_scope(scope):
        found = callables(constructor)
    for (entered, selector), parameters in parts.calls(part).items():
        with gin.config_scope(entered or None):
            found += [registered(selector), *callables(parameters)]
    return found


def _calls(parts: Parts, part: Part) -> dict[str, Any]:
    """Return scope/name → parameters of the configurables that a part calls beside its own."""
    own = inspect.unwrap(parts.constructor(part)[1])
    described = {}
    for (scope, selector), parameters in parts.calls(part).items():
        if inspect.unwrap(registered(selector)) is not own:
            with gin.config_scope(scope or None):
                described[f"{scope}/{selector}"] = _by_content(describe(parameters))
    return described


def _module(found: Callable[..., Any]) -> str:
    return getattr(inspect.unwrap(found), "__module__", None) or ""


def _members(node: StageNode) -> list[str]:
    return [name for name, part in node.parts.items() if part.kind == "network"]


def _part(parts: Parts, name: str, node: StageNode) -> dict[str, Any]:
    scope, constructor = parts.constructor(node.parts[name])
    with gin.config_scope(scope):
        described = describe(constructor)
    return {**_by_content(described), "source": _source_digest(constructor)}


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


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Say what differs between two identities: "settings.epochs was 3, is 5".

    Reasons of a stage's own come before those that it inherits from the stages it needs.
    """
    old, new = dict(_flat(before)), dict(_flat(after))
    differing = [key for key in old.keys() | new.keys() if old.get(key) != new.get(key)]
    return [
        _change(key, old.get(key, "absent"), new.get(key, "absent"))
        for key in sorted(differing, key=lambda key: (key.startswith("needs."), key))
    ]


def _change(key: str, old: Any, new: Any) -> str:
    """Hashes say nothing to a person: name what they stand for."""
    section, _, rest = key.partition(".")
    if key == "store":
        return "the store's content has changed" if new else "the store is not there"
    if section in ("sources", "code"):
        return f"the source file of '{rest}' has changed"
    if section == "needs":
        return f"the weights of '{rest}' that it starts from have changed"
    if section == "calls":
        key = rest.partition(".")[2]
    if section == "parts" and rest.endswith(".source"):
        return f"the source file of '{rest.removesuffix('.source')}' has changed"
    return f"{key} was {old}, is {new}"


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
