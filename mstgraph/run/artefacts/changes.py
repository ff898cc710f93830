"""Why a finished stage has to be trained again: what differs between two identities, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


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
