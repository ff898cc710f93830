"""Descriptions that carry their digest: any turned bit is found, and older ones are read."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, TypedDict

import pytest

from mstgraph.support.disk.descriptions import read_description, write_description
from mstgraph.support.errors import UserError


class Form(TypedDict):
    """What is read."""

    numbers: list[float]
    text: str


CONTENT: dict[str, Any] = {"text": "é ∂", "numbers": [0.1, 1e-320, -0.0, 3], "more": {"a": None}}


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    """Bit for bit, whatever the order of the keys."""
    path = tmp_path / "file.json"
    write_description(path, CONTENT)
    assert read_description(path, Form, "do so") == CONTENT
    content = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(content.items()))))
    assert read_description(path, Form, "do so") == CONTENT


def test_a_turned_bit_is_found_or_changes_nothing(tmp_path: Path) -> None:
    """Wherever it is, the digest included."""
    path = tmp_path / "file.json"
    write_description(path, CONTENT)
    written = path.read_bytes()
    moments = random.Random(0)
    refused = 0
    for place in range(len(written)):
        spoilt = bytearray(written)
        spoilt[place] ^= 1 << moments.randrange(8)
        path.write_bytes(spoilt)
        try:
            found = read_description(path, Form, "do so")
        except UserError as error:
            refused += str(error).endswith("; do so")
        else:
            assert {key: found[key] for key in CONTENT} == CONTENT
    assert refused > 0.8 * len(written)


def test_what_an_earlier_version_wrote_has_its_form_checked(tmp_path: Path) -> None:
    """It has no digest."""
    path = tmp_path / "file.json"
    path.write_text(json.dumps(CONTENT))
    assert read_description(path, Form, "do so") == CONTENT
    path.write_text(json.dumps({**CONTENT, "text": 3}))
    with pytest.raises(UserError, match="text is 3, expected text; do so"):
        read_description(path, Form, "do so")
