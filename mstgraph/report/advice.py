"""The table of an advice: a row per edge, what was measured of it, keep or drop."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from mstgraph.advice.findings import Edge, Findings, Learner
from mstgraph.report.tables import table

COLUMNS = (
    "teacher → student",
    "accuracy",
    "right where student wrong",
    "the reverse",
    "visible R²",
    "predicted gain",
    "verdict",
)


def print_advice(findings: Findings, console: Console) -> None:
    """Print each student, the edges to it with the best first, and a sentence on each student."""
    label = f" · {findings.synthetic}" if findings.synthetic else ""
    title = f"{findings.title}{label} · {findings.samples} of validation, split {findings.split}"
    result = table(title, COLUMNS, right=COLUMNS[1:-1])
    for name, student in findings.students.items():
        result.add_row(f"[bold]{name} alone[/]", f"{student.accuracy:.3f}", *[""] * 5)
        for edge in (own := findings.to(name)):
            result.add_row(*_row(edge), end_section=edge is own[-1])
    console.print(result)
    for name, student in findings.students.items():
        said = sentence(student, findings.to(name), findings.unlabelled)
        console.print(said, markup=False, highlight=False, soft_wrap=True)


def sentence(student: Learner, edges: Sequence[Edge], unlabelled: float) -> str:
    """Say what follows for a student, and from what.

    Args:
        student: before it is taught.
        edges: to it, the best first.
        unlabelled: share of the training samples that have no label.
    """
    best = edges[0]
    evidence = (
        f"{unlabelled:.0%} of the training samples have no label, and {student.name} is right on "
        f"{student.training_accuracy:.3f} of the others"
    )
    if best.verdict == "drop":
        return (
            f"{student.name}: train it alone, no teacher is expected to give it a point "
            f"(at best {best.gain:+.3f}, {best.teacher}); {evidence}"
        )
    dropped = [edge.teacher for edge in edges if edge.verdict == "drop"]
    drop = f", drop {', '.join(dropped)}" if dropped else ""
    return (
        f"{student.name}: roughly {best.gain:+.3f} accuracy is expected of {best.teacher}{drop}; "
        f"{evidence}"
    )


def _row(edge: Edge) -> tuple[str, ...]:
    shares = (f"{share:.0%}" for share in (edge.told, edge.untold))
    return (
        f"{edge.teacher} → {edge.student}",
        f"{edge.accuracy:.3f}",
        *shares,
        f"{edge.visible:.2f}",
        f"{edge.gain:+.3f}",
        edge.verdict,
    )
