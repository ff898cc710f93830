"""What the boxes and edges of a distillation graph say, from a plan document alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mstgraph.support.text import shape_in_words

Document = Mapping[str, Any]

_STAGE_WORDS = {"ci": "CI", "sta": "STA", "dkd": "DKD"}


def percent(share: float) -> str:
    """Return a share as a percentage, without pretending that a small one is none."""
    return "<1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def teacher_lines(teacher: Mapping[str, Any]) -> tuple[str, str]:
    """Return what a teacher's box says: its mask point, and its member with the feature's shape."""
    if not teacher["point"]:
        return teacher["member"], "frozen, no mask"
    feature = shape_in_words(teacher.get("feature", ()))
    return teacher["point"], " · ".join(filter(None, (teacher["member"], feature)))


def modality_lines(modality: Mapping[str, Any]) -> tuple[str, str]:
    """Return what a modality's box says: its name, its shape and type."""
    return modality["name"], f"{shape_in_words(modality['shape'])} {modality['dtype']}"


def used_modalities(document: Document) -> list[Mapping[str, Any]]:
    """Return the modalities that some member sees."""
    used = {name for member in document["members"] for name in member["inputs"]}
    return [modality for modality in document["modalities"] if modality["name"] in used]


def students(document: Document) -> list[str]:
    """Return everyone who is taught, and targets that only learn from their peers."""
    return list(dict.fromkeys([*document["teachers"], *document["targets"]]))


def stage_word(document: Document, name: str) -> str:
    """Return what a stage is called in the paper: CI, STA, DKD; others by their kind."""
    kinds = {stage["name"]: stage["kind"] for stage in document["stages"]}
    return _STAGE_WORDS.get(kinds[name], kinds[name])


def end_label(document: Document, student: str) -> str:
    """Return what the edge into a student says: the stage that ends its training."""
    (stage,) = {e["stage"] for e in document["edges"] if _ends(e, student)}
    return stage_word(document, stage)


def _ends(edge: Mapping[str, Any], student: str) -> bool:
    return edge["kind"] == "teaches" and edge["target"] == student


def edge_label(
    document: Document, student: str, teacher: Mapping[str, Any], share: float | None
) -> str:
    """Return what the edge from a teacher says: its loss, and the stage or the routed share."""
    if student not in document["gates"]:
        return f"{teacher['loss']} · {end_label(document, student)}"
    return teacher["loss"] if share is None else f"{teacher['loss']} · {percent(share)}"


def start_label(document: Document, student: str) -> str:
    """Return which weights a student starts its last stage from."""
    mutual = [e for e in document["edges"] if e["kind"] == "mutual"]
    aligned = [e["stage"] for e in mutual if student in (e["source"], e["target"])]
    if not document["teachers"].get(student):
        return f"trained in {stage_word(document, aligned[0])}"
    if aligned:
        return f"starts from its {stage_word(document, aligned[0])} weights"
    if any(teacher["point"] for teacher in document["teachers"][student]):
        return "starts from its pretrain weights"
    return "starts from scratch"
