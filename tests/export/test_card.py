"""The model card says what it is told, and nothing of it is markup."""

from __future__ import annotations

from typing import Any

from mstgraph.export.card import card, plain
from mstgraph.export.format import facts_as_text

NASTY = "a|b\n# c `d` <script>x</script> [e](f) _g_"
ROW = {
    "way": "torch",
    "metrics": {"OA": 0.5},
    "difference": 0.0,
    "agreement": None,
    "size": 10,
    "milliseconds": {"1": (1, 1, 1)},
}


def document(**other: Any) -> dict[str, Any]:
    """What an export of two modalities says, as short as it can be."""
    given = {"dtype": "float32", "scale": 1.0, "unit": "", "optional": False, "varying": False}
    metric = {"name": "OA", "title": "OA", "higher_is_better": True}
    return {
        "name": "run-both",
        "run": "run",
        "stage": "dkd",
        "seed": 0,
        "split": "official",
        "samples": 3,
        "data": {"title": NASTY, "source": NASTY, "licence": NASTY, "synthetic": NASTY},
        "inputs": [{"name": name, "shape": [2], **given} for name in ("rgb", "touch")],
        "output": "logits",
        "outputs": 2,
        "extent": [],
        "task": "classification",
        "classes": ["cat", NASTY],
        "names": ["cat", NASTY],
        "format": "onnx",
        "runtime": "onnxruntime",
        "files": ["both.onnx"],
        "primary": "OA",
        "measured": [metric],
        "student": {},
        "batches": [1],
        "threads": 1,
        "processor": "a processor",
        "int8": False,
        "versions": {"mstgraph": "1"},
        "ways": [ROW],
        **other,
    }


def test_names_are_shown_as_they_are() -> None:
    """No element, no table, no heading and no link comes of them; the front matter stays YAML."""
    _, front, body = card(document()).split("---\n", 2)
    assert "\n# c" not in front + body
    assert "<script>" not in body
    assert "[e](f)" not in body
    shown = r"a\|b # c \`d\` &lt;script&gt;x&lt;/script&gt; \[e\](f) \_g\_"
    assert f"in the order of the outputs: cat, {shown}." in body
    assert f"Licence of the data: {shown}." in body
    assert all(": " in line for line in front.splitlines())


def test_addresses_stay_whole() -> None:
    """Underlines within a word are none."""
    assert plain("https://x.org/a_b") == "https://x.org/a_b"


def test_how_to_call_it_names_every_modality() -> None:
    """In its order, for each runtime."""
    assert "python predict.py both.onnx RGB.npy TOUCH.npy" in card(document())
    assert "student.probabilities(rgb, touch)" in card(document())
    assert "network(rgb, touch)" in card(document(format="torch"))
    assert 'network({"rgb": rgb, "touch": touch})["logits"]' in card(document(format="openvino"))
    assert "method.execute([rgb, touch])" in card(document(format="executorch", largest=9))


def test_a_class_of_two_lines_is_one_entry() -> None:
    """Whoever reads the file's facts counts as many classes as there are."""
    assert facts_as_text({"classes": ["a\nb", "c"]}) == {"classes": "a b\nc"}
