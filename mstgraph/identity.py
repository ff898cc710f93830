"""Artefact identity: a hash of all that can change a stage's result, and the reasons it changed."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import gin

from mstgraph.data import Data
from mstgraph.describe import describe
from mstgraph.engine import Engine
from mstgraph.parts import Parts
from mstgraph.plan import Plan, StageNode

# Raised whenever the meaning of an artefact changes with the same configuration.
FORMAT_VERSION = 1
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
        settings = describe(node.settings)
    settings["batch_size"] = node.settings.batch_size or data.batch_size
    return {
        "format": FORMAT_VERSION,
        "kind": node.kind,
        "settings": settings,
        "parts": {name: _part(parts, name, node) for name in node.parts},
        "inputs": {m: list(plan.graph.members[m].inputs) for m in _members(node)},
        "mutual": [list(pair) for pair in node.mutual],
        "student": node.student,
        "teachers": [[teacher.name, describe(teacher.loss)] for teacher in node.teachers],
        "layers": {name: list(forward.taps) for name, forward in node.forwards.items()},
        "sources": _sources(node, data),
        "store": fingerprint,
        "split": data.split_name(plan.graph.seed),
        "normalisation": data.normalisation,
        "augmentation": describe(data.augmentation),
        "shuffle_block": data.shuffle_block,
        "precision": engine.precision,
        "cache_dtype": engine.cache_dtype,
        "seed": plan.graph.seed,
    }


def _sources(node: StageNode, data: Data) -> dict[str, str]:
    """Class → digest of its file: of the stage, its losses and the augmentation."""
    settings = node.settings
    values = [settings, data.augmentation, *(teacher.loss for teacher in node.teachers)]
    values += [getattr(settings, item.name) for item in fields(settings)]
    classes = {type(value) for value in values if is_dataclass(value)}
    return {found.__qualname__: _source_digest(found) for found in classes}


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
    is_file = isinstance(value, str) and len(value) < LONGEST_PATH and Path(value).is_file()
    return f"file {_file_digest(value)[:16]}" if is_file else value


def _file_digest(path: str) -> str:
    total = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def _source_digest(constructor: Callable[..., Any]) -> str:
    """Digest of the source file, so that an edited network is never taken for the old one."""
    source = inspect.getsourcefile(inspect.unwrap(constructor))
    return hashlib.sha256(Path(source).read_bytes()).hexdigest()[:16] if source else ""


def digest(identity: Mapping[str, Any]) -> str:
    """Return the hash of plain data, 16 hexadecimal digits."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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
    if section == "sources":
        return f"the source file of '{rest}' has changed"
    if section == "needs":
        return f"the weights of '{rest}' that it starts from have changed"
    if section == "parts" and rest.endswith(".source"):
        return f"the source file of '{rest.removesuffix('.source')}' has changed"
    return f"{key} was {old}, is {new}"


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
