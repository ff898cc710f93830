"""Descriptions on disk: JSON of a known form that carries the digest of its own content.

What a run leaves in words and numbers is read again by later runs, by pages and by people: a bit
that has turned in it must not become a number of a table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mstgraph.support.disk.forms import FormError, check_form
from mstgraph.support.errors import UserError
from mstgraph.support.files import json_text, read_json, write_json

DIGEST = "sha256"  # the key under which a description keeps the digest of the rest


def write_description(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON atomically, its digest with it.

    Raises:
        UserError: the disk is full or cannot be written.
    """
    plain = json.loads(json_text(content))
    write_json(path, {**plain, DIGEST: content_digest(plain)})


def read_description(path: Path, form: Any, advice: str) -> Any:
    """Return a description without its digest, as it was written.

    What earlier versions wrote has no digest: of it the form alone is checked.

    Args:
        path: the file.
        form: a typed dictionary, see `mstgraph.support.disk.forms`.
        advice: what to do about one that cannot be used, after "; ".

    Raises:
        UserError: it cannot be read, is of another form, or not as it was written.
    """
    content = read_json(path, advice)
    try:
        check_form(content, form)
    except FormError as error:
        raise UserError(f"'{path}' is not of the form that was expected: {error}; {advice}") from (
            error
        )
    digest = content.pop(DIGEST, None)
    if digest is not None and digest != content_digest(content):
        raise UserError(f"'{path}' is damaged: it is not as it was written; {advice}")
    return content


def content_digest(content: Any) -> str:
    """Return the SHA-256 of plain data, 64 hexadecimal digits; the order of keys counts not."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
