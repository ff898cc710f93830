"""The check of a GPU, here of a CPU: it finds what is wrong, goes on after it, and says so."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[2]))

from mstgraph.tasks.divergence import kl_divergence
from tools import check_gpu
from tools.gpu_check.finding import Bench, Finding
from tools.gpu_check.released import Released, divergence
from tools.gpu_check.results import distances
from tools.gpu_check.waits import waiting

CPU = torch.device("cpu")


def call(*arguments: str) -> tuple[int, str]:
    """Return exit code and what is printed."""
    result = CliRunner().invoke(check_gpu.main, ["--device", "cpu", *arguments])
    return result.exit_code, result.output


def test_every_part_holds_on_a_cpu_and_is_done_once(tmp_path: Path) -> None:
    """The same command again has nothing left to do."""
    torch.set_num_threads(1)
    state = str(tmp_path / "state.json")
    code, printed = call("--state", state)
    assert code == 0, printed
    for part in check_gpu.PARTS:
        assert f"{part}: cpu" in printed
    for found in (
        "ci: bf16",
        "the same bits",
        "dkd: waits",
        "DKD, on",
        "STA, released",
        "dkd step",
    ):
        assert found in printed
    assert "FAILS" not in printed
    code, printed = call("--state", state)
    assert (code, "results: cpu" in printed) == (0, False)
    assert "failed: nothing; not ended: nothing" in printed


def test_what_fails_is_told_and_the_next_part_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that does not hold, and a part that breaks off: exit code 1 for either."""

    def good(bench: Bench) -> Iterator[Finding]:
        yield Finding("two and two", "4", True)

    def wrong(bench: Bench) -> Iterator[Finding]:
        yield Finding("one and one", "3", False)

    def broken(bench: Bench) -> Iterator[Finding]:
        yield Finding("begun", "1", True)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(check_gpu, "PARTS", {"broken": broken, "wrong": wrong, "good": good})
    state = str(tmp_path / "state.json")
    code, printed = call("--state", state)
    assert code == 1
    assert "out of memory" in printed
    assert "failed: one and one; not ended: ['broken']" in printed
    assert "two and two" in printed
    monkeypatch.setattr(check_gpu, "PARTS", {"broken": good, "wrong": wrong, "good": good})
    code, printed = call("--state", state)
    assert ("broken: cpu" in printed, "good: cpu" in printed) == (True, False)
    assert (code, "not ended: nothing" in printed) == (1, True)


def test_without_time_no_part_begins(tmp_path: Path) -> None:
    """What was not checked does not count as held."""
    code, printed = call("--seconds", "0")
    assert code == 1
    assert "no time is left for results" in printed


def test_losses_that_differ_are_far_apart() -> None:
    """By stage; one that is missing or no number is as far as can be."""
    expected = {("ci", 1, "task"): 0.9, ("ci", 1, "validation"): 0.4, ("dkd", 1, "task"): 1.9}
    assert distances(expected, expected) == {"ci": 0, "dkd": 0}
    found = distances({**expected, ("ci", 1, "validation"): 0.5}, expected)
    assert found == pytest.approx({"ci": 0.2, "dkd": 0})
    lacking = {place: value for place, value in expected.items() if place[0] == "ci"}
    assert distances(lacking, expected)["dkd"] == float("inf")
    assert distances({**expected, ("ci", 1, "task"): float("nan")}, expected)["ci"] == float("inf")


def test_what_waits_is_counted() -> None:
    """What the program, or a shape, depends on; arithmetic and its gradient do not wait."""
    values = torch.randn(4, requires_grad=True)
    with waiting(CPU) as found:
        (values.exp() * values.argmax()).sum().backward()
    assert found == []
    with waiting(CPU) as found:
        float(values.detach().sum())
        values.detach()[values.detach() > 0]
        (values.detach() > 0).nonzero()
    assert sorted(set(found)) == ["_local_scalar_dense", "index", "nonzero"]


def test_the_released_schedule_trains_what_each_stage_trains() -> None:
    """All networks; the masks alone; student and gate alone."""
    torch.manual_seed(0)
    released = Released(2, CPU, {"hidden": 3})
    parts = {**released.networks, "mask": released.masks[0], "gate": released.gate}
    trained = {}
    for stage, step in released.stages():
        before = {n: [p.detach().clone() for p in m.parameters()] for n, m in parts.items()}
        step()
        trained[stage] = {
            name
            for name, module in parts.items()
            if not all(map(torch.equal, module.parameters(), before[name]))
        }
    assert trained == {"CI": {"fused", "audio", "image"}, "STA": {"mask"}, "DKD": {"image", "gate"}}


def test_the_released_divergence_is_that_of_the_package() -> None:
    """τ² KL at τ = 4, averaged over the batch."""
    teacher, student = torch.randn(2, 5, 10).double().unbind(0)
    expected = 16 * kl_divergence(teacher, student, 4.0).mean()
    torch.testing.assert_close(divergence(teacher, student), expected)
