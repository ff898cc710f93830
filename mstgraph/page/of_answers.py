"""What a page says of a student's answers: confusions, classes by themselves, numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mstgraph.certainty.counts import Counts, confusion
from mstgraph.look.answers import EachClass, Numbers, each_class, numbers
from mstgraph.look.opened import spread
from mstgraph.look.outcomes import counts, recall
from mstgraph.look.records import Records
from mstgraph.page import charts
from mstgraph.page.parts import Block, Chart, Section, Words

POINTS = 200  # samples of which predicted and true numbers are shown
PLOTTED = 6  # numbers of a label that have a chart
DIGITS = 4


def answers(run: Records) -> list[Section]:
    """Return a section for each student of which single answers are known."""
    places = run.responses()
    sections = []
    for target in run.targets:
        pair = {how: places.get(f"{target} {how}") for how in ("alone", "distilled")}
        known = {how: place for how, place in pair.items() if place is not None}
        if found := _of(run, known, counts):
            single = all(c.single for c in found.values())
            blocks = _confusions(run, found) if single else _recalls(run, found)
            sections.append(Section(f"Classes of {target}", blocks))
        elif each := _of(run, known, each_class):
            sections.append(Section(f"Classes of {target}", _each_class(run, each)))
        elif numbered := _of(run, known, numbers):
            title = f"Predicted against true, {target}"
            sections.append(Section(title, _numbers(run, numbered)))
    return sections


def _of(run: Records, places: Mapping[str, tuple[str, str]], read: Any) -> dict[str, Any]:
    """Return how the student was trained → what its answers are, for those that can be read so."""
    found = {how: read(run, place) for how, place in places.items()}
    return {how: answer for how, answer in found.items() if answer is not None}


def _confusions(run: Records, found: Mapping[str, Counts]) -> list[Block]:
    return matrices(run.classes, {how: confusion(c) for how, c in found.items()})


def matrices(classes: Sequence[str], found: Mapping[str, np.ndarray]) -> list[Block]:
    """Show confusions, and of ``distilled`` and ``alone`` the difference.

    Args:
        classes: their names.
        found: whose → how often class i (row) was taken for class j, [classes, classes].
    """
    shares = {how: m / np.maximum(m.sum(1, keepdims=True), 1) for how, m in found.items()}
    if len(shares) == 2:
        shares["distilled less alone"] = shares["distilled"] - shares["alone"]
    blocks: list[Block] = []
    for how, matrix in shares.items():
        signed = "less" in how
        data = [
            {"labelled": one, "predicted": other, "share": round(float(matrix[i, j]), 4)}
            for i, one in enumerate(classes)
            for j, other in enumerate(classes)
        ]
        most = float(np.abs(matrix).max()) if signed else None
        spec = charts.heat("labelled", "predicted", "share", len(classes), classes, most=most)
        words = (
            "Blue: more often than alone; red: less." if signed else "Share of each row's class."
        )
        blocks.append(Chart(f"Confusion, {how}", spec, data, words, wide=signed))
    return blocks


def _recalls(run: Records, found: Mapping[str, Counts]) -> list[Block]:
    data = [
        {"class": name, "series": how, "recall": float(value)}
        for how, c in found.items()
        for name, value in zip(run.classes, recall(c), strict=False)
        if not math.isnan(value)
    ]
    spec = charts.grouped_bars("class", "recall", len(data))
    words = "Share of each class's places that are right."
    return [Chart("Right by class", spec, data, words, wide=True)]


def _each_class(run: Records, found: Mapping[str, EachClass]) -> list[Block]:
    """Show how well each class is ranked, and its own confusion of two by two."""
    precision = [
        {"class": name, "series": how, "average precision": round(float(value), DIGITS)}
        for how, answer in found.items()
        for name, value in zip(run.classes, answer.average_precision(), strict=True)
        if not math.isnan(value)
    ]
    spec = charts.grouped_bars("class", "average precision", len(precision))
    words = "1 where every sample that a class applies to is ranked above all others."
    title = "Average precision by class"
    blocks: list[Block] = [Chart(title, spec, precision, words, wide=True)] if precision else []
    for how, answer in found.items():
        data = _two_by_two(run.classes, answer)
        there, columns = ([*dict.fromkeys(r[name] for r in data)] for name in ("class", "answer"))
        spec = charts.heat("class", "answer", "share", len(there), columns)
        words = "Of the samples that a class applies to, and of the others, how many are told so."
        blocks.append(Chart(f"Right and wrong by class, {how}", spec, data, words))
    return blocks


def _two_by_two(classes: Sequence[str], found: EachClass) -> list[dict[str, Any]]:
    rows = []
    for truth, those in (("applies", found.applies), ("does not", found.known & ~found.applies)):
        for said, where in (("said", found.said), ("not said", ~found.said)):
            samples, all_of_them = (those & where).sum(0), those.sum(0)
            rows += [
                {
                    "class": name,
                    "answer": f"{truth}, {said}",
                    "share": round(samples[c] / all_of_them[c], DIGITS),
                    "samples": int(samples[c]),
                }
                for c, name in enumerate(classes)
                if all_of_them[c]
            ]
    return rows


def _numbers(run: Records, found: Mapping[str, Numbers]) -> list[Block]:
    blocks: list[Block] = []
    for place, name in enumerate(run.classes[:PLOTTED]):
        data = [
            {
                "series": how,
                "true": round(float(answer.true[sample, place]), DIGITS),
                "predicted": round(float(answer.predicted[sample, place]), DIGITS),
            }
            for how, answer in found.items()
            for sample in spread(len(answer.true), POINTS)
            if not math.isnan(answer.true[sample, place])
        ]
        if data:
            words = "A dot is a test sample; on the line it would be right."
            blocks.append(Chart(name, charts.against("true", "predicted", data), data, words))
    if len(run.classes) > PLOTTED:
        blocks.append(Words(f"The first {PLOTTED} of {len(run.classes)} numbers of a label."))
    return blocks or [Words("No test sample has a number that is known.")]
