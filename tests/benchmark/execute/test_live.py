"""What a person sees while a benchmark runs."""

from __future__ import annotations

import io

import pytest
from bench_worlds import ALONE, MST, TOP2, World
from rich.console import Console

from mstgraph.benchmark.execute.live import Board
from mstgraph.benchmark.execute.schedule import Outcome, Schedule, Status
from mstgraph.benchmark.plan.benchmark import Benchmark
from mstgraph.benchmark.plan.dag import Job, OpenCell, jobs_of
from mstgraph.benchmark.plan.opening import describe_cell, open_cell

BROKEN = ("broken", "", "", "DKD.k = 9")


class Scene:
    """A benchmark of which everything can be told how it went, without training."""

    def __init__(self, benchmark: Benchmark, terminal: bool):
        self.text = io.StringIO()
        own = [cell for cell in benchmark.cells() if cell.row != 3]
        self.cells: list[OpenCell] = [describe_cell(cell, open_cell(cell)) for cell in own]
        refused = [(c, "no such teacher") for c in benchmark.cells() if c.row == 3]
        self.schedule = Schedule(jobs_of(self.cells), {})
        self.board = Board(
            Console(file=self.text, force_terminal=terminal, width=150, height=50),
            benchmark,
            self.cells,
            refused,
            self.schedule,
            lambda cell: 0.5 + cell.cell.seed / 10,
            1,
        )

    def end(self, status: Status = "done") -> None:
        """Let the next job start, and end so."""
        self.schedule.end(Outcome(self.start(), status, "the loss is nan", seconds=60.0))
        self.board.update()

    def start(self) -> Job:
        """Let the next job start."""
        job = self.schedule.ready()
        assert job is not None
        self.schedule.start(job)
        return job

    def frame(self) -> list[str]:
        """Return the lines of the table as it stands, without columns' rules."""
        text = io.StringIO()
        Console(file=text, width=150).print(self.board._renderable())
        return [" ".join(line.split()) for line in text.getvalue().splitlines()]


@pytest.fixture
def benchmark(world: World) -> Benchmark:
    """Four rows, the last of which cannot be opened, and two seeds."""
    return world.declare(ALONE, "Ours", MST, TOP2, BROKEN, seeds=(0, 1))


def test_the_table_fills_while_it_runs(benchmark: Benchmark) -> None:
    """Means of the seeds that are done, what runs and what failed, time spent and left."""
    scene = Scene(benchmark, terminal=True)
    with scene.board:
        scene.end()  # the student alone
        scene.end()  # CI
        scene.start()  # STA
        frame = scene.frame()
        assert frame[0].startswith("1 of 8 cells are done · 2 running · 2 failed · 2 of 18 stages")
        assert "left" in frame[0]
        assert frame[1] == "now rgb · MST all · seed 0: sta-rgb-fused.fusion and 3 more"
        rows = {line.split(" │ ")[0]: line.split(" │ ")[-1] for line in frame if " │ " in line}
        assert rows == {
            "w/o KD": "0.5000 1/2",
            "MST all": "…",
            "MST k=2 all": "…",
            "broken": "failed",
        }


def test_a_pipe_gets_a_line_for_each_cell_that_ends(benchmark: Benchmark) -> None:
    """Numbered through; nothing is drawn."""
    scene = Scene(benchmark, terminal=False)
    with scene.board:
        scene.end()
        scene.end("failed")  # CI
        scene.end()  # the control of the two methods
        scene.end()
    lines = scene.text.getvalue().splitlines()
    assert lines[0].startswith("[3/8] rgb · w/o KD · seed 0: OA 0.5000 · 0:00, about ")
    assert lines[1:3] == [
        "[4/8] rgb · MST all · seed 0: failed: the loss is nan",
        "[5/8] rgb · MST k=2 all · seed 0: failed: the loss is nan",
    ]
    assert lines[3].startswith("[6/8] rgb · w/o KD · seed 1: OA 0.6000")
    assert len(lines) == 4


def test_what_was_there_before_is_not_told_again(benchmark: Benchmark) -> None:
    """It is in the table from the start."""
    scene = Scene(benchmark, terminal=False)
    scene.schedule.end(Outcome(scene.start(), "done"))
    with scene.board:
        scene.board.update()
        assert any("0.5000" in line for line in scene.frame())
        assert scene.text.getvalue() == ""
        scene.end("failed")
        assert scene.text.getvalue().startswith("[4/8] rgb · MST all · seed 0: failed")
