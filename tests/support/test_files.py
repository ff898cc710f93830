"""What goes into a JSON file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch

from mstgraph.support.files import json_ready, read_json, write_json


def test_every_reader_of_json_takes_what_is_written(tmp_path: Path) -> None:
    """Tensors and arrays become lists, what is no finite number null, at any depth."""
    value = {
        "loss": math.nan,
        "nested": {"values": (1.5, math.inf, -math.inf, 2)},
        "tensor": torch.tensor([1.0, math.nan]),
        "array": np.array([[1, 2]]),
        "words": ["nan", None, True],
    }
    expected = {
        "loss": None,
        "nested": {"values": [1.5, None, None, 2]},
        "tensor": [1.0, None],
        "array": [[1, 2]],
        "words": ["nan", None, True],
    }
    assert json_ready(value) == expected
    write_json(tmp_path / "file.json", value)
    assert read_json(tmp_path / "file.json") == expected

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads((tmp_path / "file.json").read_text(), parse_constant=refuse)
