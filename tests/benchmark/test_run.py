"""Sharing, failures, interruption, and the same numbers however the stages are handed out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_worlds import (
    ALONE,
    DEPTH,
    DIVERGES,
    KD,
    MST,
    TOP2,
    World,
    artefacts,
    cell,
    metrics,
    run,
    run_and_read,
    weights,
)
from click.testing import CliRunner
from training_worlds import quiet

from mstgraph.benchmark.execute.work import StopAsked, do
from mstgraph.benchmark.execute.workers import Processes
from mstgraph.benchmark.execute.workplace import Workplace
from mstgraph.benchmark.plan.benchmark import declare
from mstgraph.benchmark.plan.dag import jobs_of
from mstgraph.benchmark.plan.opening import describe_cell, open_cell
from mstgraph.cli import main
from mstgraph.declare.settings import Engine
from mstgraph.derive.opening import open_experiment
from mstgraph.run.artefacts.run_folder import RunFolder, locked
from mstgraph.run.execute import Execution
from mstgraph.stages.stage import StageNode
from mstgraph.support.errors import UserError
from mstgraph.support.files import read_json
from mstgraph.support.interrupt import Interrupted


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the stages that are trained while the test runs, each time they are."""
    names: list[str] = []
    begin = RunFolder.begin

    def noting(self: RunFolder, node: StageNode) -> Path:
        names.append(f"{node.name}-{node.hash}")
        return begin(self, node)

    monkeypatch.setattr(RunFolder, "begin", noting)
    return names


def test_a_stage_that_several_cells_need_is_trained_once(world: World, trained: list[str]) -> None:
    """CI and four STA serve both gates; the time that this saves is in the results."""
    results = run(world.declare(ALONE, MST, TOP2))
    kinds = sorted(name.split("-")[0] for name in trained)
    assert kinds == ["alone", "ci", "dkd", "dkd", "pretrain", "sta", "sta", "sta", "sta"]
    left = artefacts("out")
    assert sorted(left) == sorted(trained)
    # What a method takes is told without its control.
    methods = {name: artefact for name, artefact in left.items() if artefact["kind"] != "alone"}
    seconds = {name: artefact["seconds"] for name, artefact in methods.items()}
    shared = sum(s for name, s in seconds.items() if name.startswith(("ci-", "sta-")))
    assert results.shared_seconds == pytest.approx(sum(seconds.values()))
    assert results.separate_seconds == pytest.approx(sum(seconds.values()) + shared)
    stages = json.loads(Path("out/cells.json").read_text())[1]["stages"]
    of_mst = [methods[name] for name in stages.values() if name in methods]
    assert len(of_mst) == 6
    assert cell(results, 1).seconds == pytest.approx(sum(one["seconds"] for one in of_mst))
    assert cell(results, 1).peak_memory == max(one["peak_memory"] for one in of_mst)


def test_two_students_share_what_does_not_depend_on_the_student(
    world: World, trained: list[str]
) -> None:
    """Members that are aligned with each other are so whoever of them is distilled into."""
    run(world.declare(MST, text=f"bench.students = (('rgb', 'rgb.gin'), {DEPTH!r})\n"))
    kinds = [name.split("-")[0] for name in trained]
    assert kinds.count("ci") == 1
    assert kinds.count("dkd") == 2


def test_a_cell_is_what_its_run_alone_would_be(world: World) -> None:
    """The same weights and the same metrics as `mstgraph run` with the same files and bindings."""
    benchmark = world.declare(ALONE, MST, KD, seeds=(1,))
    results = run(benchmark)
    shared = weights("out")
    for one in benchmark.cells():
        execution = quiet(open_experiment(one.files, one.bindings), f"alone-{one.row}")
        summary = execution.run()
        student = summary["students"]["rgb"]
        expected = student["alone" if one.row == 0 else "distilled"]
        assert cell(results, one.row, seed=1).metrics == expected
        plan = execution.experiment.plan
        for name, content in weights(f"alone-{one.row}/stages").items():
            stage, part = name.split("/")
            assert shared[f"{stage}-{plan.stages[stage].hash}/{part}"] == content
    assert len(results.cells) == 3


def test_a_method_is_measured_against_the_student_alone_trained_as_long(world: World) -> None:
    """Each cell has the epochs behind its student, and what the control came to, which has as many.

    The row of the student alone stands for itself.
    """
    results = run(world.declare(ALONE, MST, KD, seeds=(0, 1)))
    left = artefacts("out")
    assert [cell(results, row).epochs for row in range(3)] == [2, 4, 2]
    records = [r for r in json.loads(Path("out/cells.json").read_text()) if r["seed"] == 0]
    for row, record in enumerate(records):
        if row == 0:
            assert record["control"] == ""
            assert cell(results, 0).control is None
            continue
        control = left[record["control"]]
        assert control["epochs"] == cell(results, row).epochs
        assert cell(results, row).control == control["test"]["metrics"]["rgb"]
    assert results.students[0].test_share == pytest.approx(1 / 3)
    column = results.columns()[0]
    for row in (1, 2):
        low, high = results.interval(row, column)
        values, controls = results.values(row, column), results.controls(row, column)
        gain = sum(values[seed] - controls[seed] for seed in values) / len(values)
        assert low <= gain <= high
    assert results.interval(0, column) is None
    assert "95 % interval" in Path("out/table.md").read_text()


def test_the_same_command_again_trains_nothing(world: World, trained: list[str]) -> None:
    """And a changed one what changed."""
    first = run(world.declare(ALONE, MST))
    trained.clear()
    assert run(world.declare(ALONE, MST)) == first
    assert trained == []
    run(world.declare(ALONE, MST, TOP2, bindings=["DKD.learning_rate = 1e-2"]))
    # The student alone is trained as the last stage of a method trains it.
    assert {name.split("-")[0] for name in trained} == {"alone", "dkd"}


def test_benchmarks_share_a_folder_of_artefacts(world: World, trained: list[str]) -> None:
    """Each has results of its own."""
    run(world.declare(ALONE, MST), "one", artefacts=Path("shared"))
    trained.clear()
    results = run(world.declare(MST, TOP2), "two", artefacts=Path("shared"))
    assert [name.split("-")[0] for name in trained] == ["dkd"]
    assert [row.method for row in results.rows] == ["MST", "MST k=2"]
    assert not Path("one/artefacts").exists()


def test_artefacts_of_another_number_of_threads_are_not_taken_over(world: World) -> None:
    """Sums depend on it, so that a table would mix numbers of two kinds."""
    run(world.declare(ALONE))
    with pytest.raises(UserError, match=r"'out/artefacts' was made with --threads 1, .* another"):
        run(world.declare(ALONE), threads=2)


def test_a_cell_that_fails_stops_nobody_else(world: World) -> None:
    """Its sentence is in the results; cells that share stages with it are as they would be."""
    broken = ("broken", "", "", *DIVERGES)
    results, lines, _ = run_and_read(world.declare(ALONE, broken, MST))
    assert cell(results, 1).metrics is None
    assert "stage dkd-rgb: the " in (cell(results, 1).error or "")
    assert "try a smaller DKD.learning_rate" in (cell(results, 1).error or "")
    healthy = run(world.declare(ALONE, MST), "healthy")
    assert cell(results, 2).metrics == cell(healthy, 1).metrics
    assert [line.split(": ")[0] for line in lines] == [
        "[1/3] rgb · w/o KD · seed 0",
        "[2/3] rgb · broken · seed 0",
        "[3/3] rgb · MST all · seed 0",
    ]


def test_a_stage_that_fails_takes_along_what_needs_it(world: World) -> None:
    """All cells on top of it fail with one sentence, and the student alone is trained."""
    results = run(world.declare(MST, ALONE, TOP2, bindings=["CI.learning_rate = 1e30"]))
    assert cell(results, 1).metrics is not None
    assert cell(results, 0).error == cell(results, 2).error
    assert "stage ci: the " in (cell(results, 0).error or "")


def test_of_stages_that_share_a_pass_the_sound_ones_are_finished(world: World) -> None:
    """Four STA go through the data together; two of them diverge."""
    results = run(world.declare(MST, bindings=["depth/STA.learning_rate = 1e30"]))
    assert "stage sta-rgb-depth." in (cell(results, 0).error or "")
    stas = sorted(name.rsplit("-", 1)[0] for name in artefacts("out") if name.startswith("sta"))
    assert stas == ["sta-rgb-fused.fusion", "sta-rgb-fused.hidden1"]


def test_an_error_of_the_code_is_a_sentence_and_a_traceback_in_a_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wrote the method finds it beside the artefact."""

    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("mstgraph.stages.dkd.DKD.losses", broken)
    results = run(world.declare(ALONE, MST))
    told = "stage dkd-rgb: ZeroDivisionError: by nothing (test_run.py:211)"
    assert cell(results, 1).error.replace(f"{Path(__file__).parent}/", "") == told
    (report,) = Path("out/artefacts").glob("dkd-rgb-*/error.txt")
    assert "in broken" in report.read_text()
    assert cell(results, 0).metrics is not None


def test_a_cell_that_cannot_be_opened_is_told_before_anything_is_trained(world: World) -> None:
    """With the place in the benchmark's file, not as a binding of the command line."""
    wrong = ("wrong", "", "", "DKD.k = 9")
    results, _, said = run_and_read(world.declare(ALONE, wrong, MST, seeds=(0, 1)))
    sentence = (
        "tiny.gin: row 'wrong': 'DKD.k = 9': DKD.k is 9, expected 1 to N = 4 teachers "
        "(fused.fusion, fused.hidden1, depth.hidden1, depth.hidden2)"
    )
    assert said[-2:] == [
        f"2 cells of rgb cannot run: {sentence}",
        "4 cells need 16 stages; shared between them, 16 are to be trained",
    ]
    assert cell(results, 1, seed=1).error == sentence
    assert len(results.cells) == 6


def test_a_setting_that_no_cell_reads_is_told(world: World) -> None:
    """One that some methods read and others do not is none of these, nor is the file's profile."""
    given = ["DKD.k = 2", "Hint.epochs = 3"]
    _, _, said = run_and_read(world.declare(ALONE, MST, bindings=given))
    assert said[:-1] == ["command line '-p Hint.epochs = 3': no cell reads Hint.epochs"]


def test_a_setting_that_its_own_row_does_not_read_is_told(world: World) -> None:
    """Though other rows read it; once, whatever the number of seeds."""
    useless = (*ALONE, "DKD.k = 2")
    _, _, said = run_and_read(world.declare(useless, TOP2, seeds=(0, 1)))
    assert said[:-1] == ["tiny.gin: row 'w/o KD': 'DKD.k = 2': no cell reads DKD.k"]


def test_precision_and_cache_have_options_as_with_run(world: World) -> None:
    """They are bindings of every cell."""
    world.declare(ALONE)
    arguments = ["bench", "tiny.gin", "--device", "cpu", "--precision", "bf16", "--no-cache"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    (artefact,) = artefacts("runs/bench-tiny").values()
    assert "bf16" in json.dumps(artefact["identity"])
    assert "no cell reads" not in result.stderr


def test_a_mistake_on_the_command_line_is_refused_at_once(world: World) -> None:
    """So is a benchmark of which no cell can be opened."""
    with pytest.raises(UserError, match=r"^command line '-p DKD.kk = 9': 'DKD' has no parameter"):
        run(world.declare(ALONE, bindings=["DKD.kk = 9"]))
    with pytest.raises(UserError, match=r"^tiny.gin: row 'x': 'DKD.kk = 9': 'DKD' has no param"):
        run(world.declare(("x", "", "", "DKD.kk = 9")))


def test_a_metric_that_nothing_measures_is_refused_before_anything_is_trained(
    world: World, trained: list[str]
) -> None:
    """With its place in the benchmark's file; a table that cannot be made would come too late."""
    sentence = r"^tiny.gin:7: bench.metrics has 'AO', which no .* measures; did you mean 'OA'\?"
    with pytest.raises(UserError, match=sentence):
        run(world.declare(ALONE, text="bench.metrics = ('OA', 'AO')\n"))
    assert trained == []


def test_a_student_with_two_targets_is_refused(world: World) -> None:
    """A column shows one; the other would be trained for nobody."""
    both = "graph.target = ('rgb', 'depth')"
    results = run(world.declare(ALONE, ("both", "", "", both, "rgb/Member.masks = ('hidden1',)")))
    assert (cell(results, 1).error or "").startswith(
        f"tiny.gin: row 'both': '{both}': graph.target names 'rgb' and 'depth', but a search, "
        "and a column of a benchmark, is about one student; expected one of them"
    )
    assert cell(results, 0).metrics is not None


def test_two_benchmarks_never_write_into_one_folder(world: World) -> None:
    """The second is refused while the first runs."""
    with locked(Path("out")), pytest.raises(UserError, match="another process is running in 'out'"):
        run(world.declare(ALONE))


def stop_after(looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let somebody ask to stop at the n-th time that a stage looks."""
    count = iter(range(10**9))
    monkeypatch.setattr(StopAsked, "__call__", lambda self: next(count) >= looks)


@pytest.mark.parametrize("looks", [0, 5, 21])
def test_an_interrupted_benchmark_continues_bit_for_bit(
    looks: int, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it was stopped; what is finished by then is in the results."""
    benchmark = world.declare(ALONE, MST)
    with monkeypatch.context() as patched:
        stop_after(looks, patched)
        with pytest.raises(Interrupted, match=r"^[01] of 2 cells$"):
            run(benchmark)
    partial = read_json(Path("out/results.json"))
    assert all(one["error"] is None for one in partial["cells"])
    assert len(partial["cells"]) < 2
    continued = run(benchmark)
    whole = run(benchmark, "whole")
    assert metrics(continued) == metrics(whole)
    assert weights("out") == weights("whole")
    assert not Path("out/.scratch").exists()


@pytest.fixture
def ctrl_c_at_first_artefact() -> Iterator[None]:
    """Send SIGINT to this process as soon as a stage is finished."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            if any(Path("two/artefacts").glob("*/artefact.json")):
                os.kill(os.getpid(), signal.SIGINT)
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield
    over.set()
    watcher.join()
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_at_first_artefact")
def test_two_processes_come_to_the_numbers_of_one(world: World) -> None:
    """Bit for bit, also when Ctrl-C stops both and the same command continues."""
    benchmark = world.declare(ALONE, MST, seeds=(0, 1), bindings=["CI.epochs = 20"])
    with pytest.raises(Interrupted):
        run(benchmark, "two", jobs=2)
    two = run(benchmark, "two", jobs=2)
    one = run(benchmark, "one")
    assert metrics(two) == metrics(one)
    assert weights("two") == weights("one")
    assert all(found.metrics is not None for found in one.cells)


def test_a_process_that_is_killed_is_a_job_that_failed(world: World) -> None:
    """The next job gets a new process, which a Ctrl-C at its birth leaves at work."""
    benchmark = world.declare(ALONE)
    job, place = _first_job(benchmark.cells()[0])
    workers = Processes(do, place, 1)
    workers.submit(job)
    os.kill(workers._workers[0].process.pid, signal.SIGKILL)
    assert not workers.free()
    (outcome,) = workers.finished(30)
    assert outcome.status == "failed"
    assert outcome.sentence == (
        "stage pretrain-rgb: its process was ended by SIGKILL, as it is when memory runs out; "
        "fewer --jobs need less"
    )
    workers.submit(job)
    os.kill(workers._workers[0].process.pid, signal.SIGINT)
    deadline = time.monotonic() + 60
    while not (ended := workers.finished(1)) and time.monotonic() < deadline:
        assert not workers.free()
    assert [one.status for one in ended] == ["done"]
    workers.close()
    assert not any(worker.alive for worker in workers._workers)


def _first_job(one: Any) -> tuple[Any, Workplace]:
    place = Workplace(Path("artefacts").resolve(), Path("scratch").resolve())
    return jobs_of([describe_cell(one, open_cell(one))])[0], place


def test_what_changed_since_the_plan_is_not_trained_under_the_old_name(world: World) -> None:
    """A gin file that is edited while the benchmark runs."""
    job, place = _first_job(world.declare(ALONE).cells()[0])
    with Path("rgb.gin").open("a") as stream:
        stream.write("\nMLP.hidden = (5, 5)\n")
    outcome = do(job, place)
    assert outcome.status == "failed"
    assert outcome.sentence.startswith("stage pretrain-rgb is no longer what was planned: ")
    assert not artefacts("artefacts")


def test_threads_are_those_asked_for_whatever_torch_had(world: World) -> None:
    """One number for all jobs, so that the number of processes changes nothing."""
    job, place = _first_job(world.declare(ALONE).cells()[0])
    torch.set_num_threads(2)
    try:
        assert do(job, place).status == "done"
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_folder_that_an_orphan_holds_is_waited_for(
    stopped: bool, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cell does not fail; a request to stop ends the waiting."""
    job, place = _first_job(world.declare(ALONE).cells()[0])
    looks = iter([False, stopped])
    monkeypatch.setattr("mstgraph.benchmark.execute.work.ASKED_EVERY", 0.0)
    with ExitStack() as held:
        held.enter_context(locked(place.scratch / job.name))
        monkeypatch.setattr("mstgraph.benchmark.execute.work.time.sleep", lambda _: held.close())
        outcome = do(job, place, lost=lambda: next(looks, False))
    assert outcome.status == ("interrupted" if stopped else "done")
    assert (place.scratch / job.name).exists() == stopped


def test_stages_that_wait_for_an_orphan_are_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, before anything is trained; then the benchmark is as any other."""
    benchmark = world.declare(ALONE, MST)
    job = jobs_of([describe_cell(one, open_cell(one)) for one in benchmark.cells()])[0]
    with ExitStack() as held:
        held.enter_context(locked(Path("out/.scratch").resolve() / job.name))
        monkeypatch.setattr("mstgraph.benchmark.execute.work.time.sleep", lambda _: held.close())
        results, _, said = run_and_read(benchmark)
    (sentence,) = (one for one in said if one.startswith("a process of an earlier command"))
    assert sentence.endswith("on pretrain-rgb; they go on here as soon as it has ended")
    assert all(one.metrics is not None for one in results.cells)


def test_workers_end_when_whoever_started_them_is_killed(tmp_path: Path) -> None:
    """Whatever they are at, a pass over the validation split too."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import multiprocessing, os, signal, time\n"
        "from mstgraph.benchmark.execute.workers import end_with_parent\n"
        "def work(line):\n"
        "    end_with_parent(0.1)\n"
        "    line.send(os.getpid())\n"
        "    time.sleep(100)\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    line, other = context.Pipe()\n"
        "    context.Process(target=work, args=(other,)).start()\n"
        "    print(line.recv(), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL
    worker, deadline = int(ended.stdout), time.monotonic() + 20
    while (alive := _is_alive(worker)) and time.monotonic() < deadline:
        time.sleep(0.05)
    if alive:
        os.kill(worker, signal.SIGKILL)
    assert not alive


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # One that has ended and that nobody has asked for its exit code.
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_the_first_ctrl_c_asks_and_the_second_forces(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one job in this process, as with `run`: no stage catches another signal for itself."""
    handlers: list[Any] = []
    begin = RunFolder.begin

    def pressed(self: RunFolder, node: StageNode) -> Path:
        os.kill(os.getpid(), signal.SIGINT)
        handlers.append(signal.getsignal(signal.SIGINT))
        return begin(self, node)

    monkeypatch.setattr(RunFolder, "begin", pressed)
    # Whoever runs tests in the background may have told them to ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(Interrupted):
            run(world.declare(ALONE, MST))
    finally:
        signal.signal(signal.SIGINT, before)
    assert handlers == [signal.default_int_handler]


@pytest.mark.parametrize(
    ("declared", "expected"), [((), 0.25), (("engine.disk_gigabytes = 0",), 0)]
)
def test_workers_divide_what_is_free(
    declared: tuple[str, ...], expected: float, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Disk as well as memory; what is declared is what each may take."""
    budgets: list[tuple[int, int]] = []
    setting = Execution.setting

    def noting(self: Execution, group: Any) -> Any:
        engine = self.experiment.engine
        budgets.append((self.pool.remaining, engine.disk_budget(self.folder.path)))
        return setting(self, group)

    monkeypatch.setattr(Execution, "setting", noting)
    monkeypatch.setattr(Engine, "memory_budget", _or_declared("memory_gigabytes", 10**9))
    monkeypatch.setattr(Engine, "disk_budget", _or_declared("disk_gigabytes", 10**9))
    job, place = _first_job(world.declare(ALONE, bindings=declared).cells()[0])
    assert do(job, replace(place, share=4)).status == "done"
    ((memory, disk),) = budgets
    assert memory == pytest.approx(0.25e9, rel=0.01)
    assert disk == pytest.approx(expected * 1e9, rel=0.01)


def _or_declared(parameter: str, free: int) -> Any:
    def budget(engine: Engine, _: Any) -> int:
        declared = getattr(engine, parameter)
        return free if declared is None else int(declared * 1e9)

    return budget


def test_the_command_leaves_tables_and_says_where(world: World) -> None:
    """Exit code 0 with every cell; results as text, Markdown, LaTeX, CSV and JSON."""
    world.declare(ALONE, "Ours", MST)
    arguments = ["bench", "tiny.gin", "--device", "cpu", "--seeds", "0-1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    folder = Path("runs/bench-tiny")
    assert result.stdout.splitlines()[-1] == f"everything is in {folder}"
    for ending in ("txt", "md", "tex", "csv"):
        assert "MST" in (folder / f"table.{ending}").read_text()
    results = read_json(folder / "results.json")
    assert results["seeds"] == [0, 1]
    assert [row["group"] for row in results["rows"]] == ["", "Ours"]
    assert results["baseline"] == 0
    assert results["synthetic"] == "random numbers"
    assert declare(folder / "bench.gin").settings.rows == declare("tiny.gin").settings.rows


def test_the_command_fails_with_a_failed_cell_and_with_a_stop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1 after the table, 130 after Ctrl-C."""
    world.declare(ALONE, ("broken", "", "", *DIVERGES))
    result = CliRunner().invoke(main, ["bench", "tiny.gin", "--device", "cpu"])
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == ("mstgraph: 1 of 2 cells failed; the table says why")
    assert "try a smaller DKD.learning_rate" in result.stdout
    stop_after(3, monkeypatch)
    result = CliRunner().invoke(main, ["bench", "tiny.gin", "--device", "cpu", "--out", "stopped"])
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == (
        "mstgraph: stopped after 0 of 2 cells; the same command continues"
    )
