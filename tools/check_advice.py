"""How well `mstgraph advise` predicts: its gains against gains that were measured, on real data.

    python tools/check_advice.py               # minutes on an idle core; again: continues
    python tools/check_advice.py --report      # the table and the correlations of what is there

Each student of the digits (mfeat) and of the gestures (imu) learns from each teacher by itself and
from all as one, with a share of the labels and all pairs (gin/methods/ensemble.gin). The gain is
that of the test split over the same network trained as long alone; the advice is that of the
members that the run has left, on validation.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr  # type: ignore[import-untyped, unused-ignore]

import mstgraph
from mstgraph.advice.advise import TOGETHER
from mstgraph.advice.prediction import GAIN, predicted_gain

Row = dict[str, Any]


@dataclass(frozen=True)
class DataSet:
    """A development set: a student's gin file, its members, and what makes it quick.

    Attributes:
        file: gin file of one student, whose members are those of all.
        students: members that are students in turn.
        members: all of them.
        bindings: of every run.
    """

    file: str
    students: tuple[str, ...]
    members: tuple[str, ...]
    bindings: tuple[str, ...]


SETS = {
    "mfeat": DataSet(
        "gin/mfeat_zer_kar.gin",
        ("zer", "fou"),
        ("fou", "kar", "zer", "fused"),
        ("student_epochs = 30", "data.batch_size = 128"),
    ),
    "imu": DataSet(
        "gin/imu_digits_accelerometer.gin",
        ("accelerometer", "gyroscope", "magnetometer"),
        ("accelerometer", "gyroscope", "magnetometer", "fused"),
        (
            "student_epochs = 30",
            "Sequence1d.channels = (8, 16, 32)",
            "FusedSequence1d.channels = (8, 16, 32)",
        ),
    ),
}
SHARES = (0.1, 1.0, 0.25)
HEADINGS = (
    *("set", "student", "teacher", "labels", "seeds", "accuracy"),
    *("right where student wrong", "the reverse", "visible R²", "predicted", "measured"),
)


def measure(folder: Path, seeds: Sequence[int]) -> None:
    """Train whatever is not in ``rows.jsonl`` yet, and add it there."""
    done = {(r["set"], r["student"], r["labelled"], r["seed"]) for r in read(folder)}
    for seed in seeds:
        for share in SHARES:
            for name, data in SETS.items():
                for student in data.students:
                    if (name, student, share, seed) in done:
                        continue
                    bindings = (f"data.labelled = {share}", f"graph.seed = {seed}", *data.bindings)
                    place = folder / f"{name}-{share}-{seed}"
                    key = {"set": name, "labelled": share, "seed": seed}
                    found = [{**key, **row} for row in rows(data, student, bindings, place)]
                    with (folder / "rows.jsonl").open("a", encoding="utf-8") as file:
                        file.writelines(json.dumps(row) + "\n" for row in found)


def rows(data: DataSet, student: str, bindings: Sequence[str], place: Path) -> Iterator[Row]:
    """Yield what each teacher gains and what the advice says of it; stages lie in one folder."""
    teachers = [name for name in data.members if name != student]
    gains: dict[frozenset[str], Row] = {}
    for chosen in (*([name] for name in teachers), teachers):
        dropped = [f"graph.{name} = None" for name in teachers if name not in chosen]
        files = [data.file, "gin/methods/ensemble.gin"]
        target = f"graph.target = '{student}'"
        run = mstgraph.load(files, target, *bindings, *dropped).run(
            place, device="cpu", progress=False
        )
        result = run.summary["students"][student]
        gains[frozenset(chosen)] = {k: result[k]["OA"] for k in ("alone", "distilled")}
    advice = run.advise("cpu")  # the last one has all teachers
    for edge in advice.edges:
        gain = gains[frozenset(edge.teacher.split(TOGETHER))]
        yield {**asdict(edge), **gain, "unlabelled": advice.unlabelled}


def read(folder: Path) -> list[Row]:
    """Return the rows that are there."""
    path = folder / "rows.jsonl"
    return [json.loads(line) for line in path.open(encoding="utf-8")] if path.is_file() else []


def fitted(found: Sequence[Row]) -> float:
    """Return what `GAIN` would have to be to fit rows best, by least squares."""
    predicted = np.array([predicted_gain(r["helps"], r["harms"], r["unlabelled"]) for r in found])
    gains = np.array([r["distilled"] - r["alone"] for r in found])
    return float(GAIN * (predicted @ gains) / (predicted @ predicted))


def over_seeds(found: Sequence[Row]) -> list[Row]:
    """Return a row per set, student, teacher and share of labels, with means over its seeds."""
    groups = defaultdict(list)
    for row in found:
        groups[row["set"], row["student"], row["teacher"], row["labelled"]].append(row)
    return [
        {
            **dict(zip(("set", "student", "teacher", "labelled"), key, strict=True)),
            "seeds": len(group),
            "measured": float(np.mean([r["distilled"] - r["alone"] for r in group])),
            "predicted": float(
                np.mean([predicted_gain(r["helps"], r["harms"], r["unlabelled"]) for r in group])
            ),
            **{
                name: float(np.mean([r[name] for r in group]))
                for name in ("accuracy", "told", "untold", "visible")
            },
        }
        for key, group in groups.items()
    ]


def correlations(combinations: Sequence[Row]) -> Iterator[str]:
    """Yield the rank correlation of prediction and measured gain over several choices of rows."""
    names = sorted({row["set"] for row in combinations})
    choices = {
        "all": combinations,
        **{name: [r for r in combinations if r["set"] == name] for name in names},
        "unlabelled pairs alone": [r for r in combinations if r["labelled"] < 1],
        "two seeds or more": [r for r in combinations if r["seeds"] > 1],
    }
    for title, rows in choices.items():
        if len(rows) > 2:
            found = rank_correlation(rows)
            yield f"{title}: {found:+.2f}, {len(rows)} combinations"
    groups = defaultdict(list)
    for row in choices["unlabelled pairs alone"]:
        groups[row["set"], row["student"], row["labelled"]].append(row)
    within = [rank_correlation(group) for group in groups.values() if len(group) > 2]
    if within:
        mean = np.mean(within)
        yield f"among the teachers of one student and share: {mean:+.2f}, mean of {len(within)}"


def rank_correlation(rows: Sequence[Row]) -> float:
    """Return Spearman's ρ of prediction and measured gain."""
    pairs = [(row["predicted"], row["measured"]) for row in rows]
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)


def report(folder: Path) -> None:
    """Print a row per combination as Markdown, the correlations, and the fit on mfeat alone."""
    found = read(folder)
    combinations = over_seeds(found)
    print(f"| {' | '.join(HEADINGS)} |\n{'|---' * len(HEADINGS)}|")
    for row in sorted(
        combinations, key=lambda r: (r["set"], r["labelled"], r["student"], r["teacher"])
    ):
        print(
            f"| {row['set']} | {row['student']} | {row['teacher']} | {row['labelled']:.0%} | "
            f"{row['seeds']} | {row['accuracy']:.3f} | {row['told']:.0%} | {row['untold']:.0%} | "
            f"{row['visible']:.2f} | {row['predicted']:+.3f} | {row['measured']:+.3f} |"
        )
    for line in correlations(combinations):
        print(line)
    print(f"GAIN fitted on mfeat: {fitted([r for r in found if r['set'] == 'mfeat']):.2f}")


def main() -> None:
    """Measure, or only report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/check_advice"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    if not options.report:
        options.out.mkdir(parents=True, exist_ok=True)
        measure(options.out, options.seeds)
    report(options.out)


if __name__ == "__main__":
    main()
