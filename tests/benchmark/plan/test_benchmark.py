"""A benchmark in gin: its cells, what the command line changes, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bench_worlds import ALONE, EPOCHS, MST, World
from tiny_graphs import ROOT

from mstgraph.benchmark.plan.benchmark import declare, parse_seeds
from mstgraph.support.errors import UserError

FILES = sorted((ROOT / "gin" / "bench").glob("*.gin"))


def test_cells_are_rows_by_students_by_seeds(world: World) -> None:
    """Seed by seed, so that a whole table stands early; files and bindings from weak to strong."""
    two = "bench.students = (('one', 'rgb.gin', 'MLP.hidden = (5, 5)'), ('two', 'rgb.gin'))\n"
    rows = ALONE, ("KD", "MM", "kd.gin", "DKD.k = 2")
    Path("kd.gin").write_text("CI.epochs = 3\n")
    cells = world.declare(*rows, bindings=["CI.epochs = 4"], seeds=(3, 5), text=two).cells()
    assert [(c.seed, c.student, c.row) for c in cells] == [
        (seed, student, row) for seed in (3, 5) for student in (0, 1) for row in (0, 1)
    ]
    assert cells[1].files == ("rgb.gin", "kd.gin")
    assert cells[2].files == ("rgb.gin",)
    assert cells[1].bindings == (
        *EPOCHS,
        "MLP.hidden = (5, 5)",
        "DKD.k = 2",
        "CI.epochs = 4",
        "graph.alone = True",
        "graph.seed = 3",
    )
    bare = world.declare(*rows, text="bench.baseline = ''\n").cells()
    assert "graph.alone = False" in bare[1].bindings


def test_bindings_of_the_command_line_go_where_they_belong(world: World) -> None:
    """Those of the benchmark change it, all others go into every cell."""
    given = ["bench.title = 'Mine'", " bench.seeds = (7,)", "DKD.k = 2"]
    benchmark = world.declare(ALONE, MST, bindings=given)
    assert benchmark.settings.title == "Mine"
    assert [cell.seed for cell in benchmark.cells()] == [7, 7]
    assert benchmark.given == ("DKD.k = 2",)
    assert all("DKD.k = 2" in cell.bindings for cell in benchmark.cells())
    assert not any("bench." in binding for cell in benchmark.cells() for binding in cell.bindings)


def test_seeds_of_the_command_line_win(world: World) -> None:
    """Over the declared ones."""
    world.declare(ALONE, seeds=(1, 2))
    assert declare("tiny.gin", [], seeds=[4]).settings.seeds == (4,)
    assert declare("tiny.gin").settings.seeds == (1, 2)


def test_a_string_among_the_rows_is_a_heading(world: World) -> None:
    """For all rows after it."""
    rows = world.declare(ALONE, "Mutual", MST, ("A", "", ""), "Cross", ("B", "CM", "")).rows
    assert [row.group for row in rows] == ["", "Mutual", "Mutual", "Cross"]
    assert [row.name for row in rows] == ["w/o KD", "MST all", "A", "B CM"]


def test_the_operative_configuration_declares_the_same(world: World) -> None:
    """It is left beside the results."""
    benchmark = world.declare(ALONE, MST, bindings=["bench.title = 'Mine'"])
    Path("again.gin").write_text(benchmark.gin_text)
    again = declare("again.gin")
    assert again.settings == benchmark.settings
    assert (again.students, again.rows) == (benchmark.students, benchmark.rows)


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0-4", (0, 1, 2, 3, 4)), ("3", (3,)), ("0, 2,7-9", (0, 2, 7, 8, 9)), ("1,0-1", (1, 0))],
)
def test_seeds_in_words(text: str, seeds: tuple[int, ...]) -> None:
    """Ranges and lists, each seed once."""
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "3-1", "1;2"])
def test_seeds_that_are_none(text: str) -> None:
    """One sentence says what was expected."""
    with pytest.raises(UserError, match=r"^--seeds .*; expected 0-4 or 0,2,5$"):
        parse_seeds(text)


MISTAKES: dict[str, tuple[str, str]] = {
    "no rows": ("bench.rows = ()", "tiny.gin:7: bench.rows is empty; expected at least one"),
    "seed twice": ("bench.seeds = (1, 1)", "tiny.gin:7: bench.seeds has 1 twice; expected it once"),
    "row twice": (
        "bench.rows = (('A', 'B', ''), ('A B', '', ''))\nbench.baseline = ''",
        "tiny.gin:7: two rows are called 'A B'; expected different names",
    ),
    "student twice": (
        "bench.students = (('a', 'rgb.gin'), ('a', 'rgb.gin', 'DKD.k = 2'))",
        "tiny.gin:7: two students are called 'a'; expected different names",
    ),
    "short row": (
        "bench.rows = (('A', 'B'),)\nbench.baseline = ''",
        "tiny.gin:7: ('A', 'B') is not (method, teachers, gin file or '', binding, …), all of them",
    ),
    "short row beside a baseline": (
        "bench.rows = (('w/o KD', ''),)",
        "tiny.gin:7: ('w/o KD', '') is not (method, teachers, gin file or '', binding, …), all of",
    ),
    "empty row": ("bench.rows = ((),)", "tiny.gin:7: () is not (method, teachers, gin file or ''"),
    "empty student": ("bench.students = ((),)", "tiny.gin:7: () is not (name, gin file, binding"),
    "own seed": (
        "bench.bindings = ('graph.seed=3',)",
        "tiny.gin:7: bench.bindings: 'graph.seed=3': a benchmark sets graph.seed itself; expected "
        "--seeds, or bench.seeds",
    ),
    "own alone": (
        "bench.students = (('rgb', 'rgb.gin', 'graph.alone = True'),)",
        "tiny.gin:7: bench.students: 'graph.alone = True': a benchmark sets graph.alone itself; ",
    ),
    "baseline": (
        "bench.baseline = 'w/o DK'",
        "tiny.gin:7: bench.baseline is 'w/o DK', which is no row's method; expected '' or one of "
        "them; did you mean 'w/o KD'? (valid: w/o KD)",
    ),
    "file": (
        "bench.students = (('rgb', 'rbg.gin'),)",
        "tiny.gin:7: there is no file 'rbg.gin': looked in the working directory, in and above ",
    ),
    "foreign": (
        "CI.epochs = 3",
        "tiny.gin:7: 'CI.epochs' does nothing in a benchmark's file; expected it among ",
    ),
    "figure": ("bench.figure = ('pie', 'k')", "tiny.gin:7: bench.figure is ('pie', 'k'); expected"),
    "gains of no method": (
        "bench.figure = ('gains', 'w/o KT')",
        "tiny.gin:7: bench.figure is ('gains', 'w/o KT'), which names no row's method; did you "
        "mean 'w/o KD'?",
    ),
    "gains without baseline": (
        "bench.figure = ('gains', 'w/o KD')\nbench.baseline = ''",
        "tiny.gin:7: bench.figure is ('gains', 'w/o KD'), but gains are counted from bench.base",
    ),
    "sweep of nothing": (
        "bench.figure = ('sweep', 'k')\nbench.rows = (('A', 'kk = 1', ''), ('A', 'kk = 2', ''))\n"
        "bench.baseline = ''",
        "tiny.gin:7: bench.figure is ('sweep', 'k'), but none of bench.rows name 'k = …' as method "
        "or teachers; expected two or more; did you mean 'kk'?",
    ),
    "sweep twice": (
        "bench.figure = ('sweep', 'k')\nbench.rows = (('A', 'k = 1', ''), ('B', 'k = 1', ''))\n"
        "bench.baseline = ''",
        "tiny.gin:7: bench.figure is ('sweep', 'k'), but the rows 'A k = 1' and 'B k = 1' both "
        "have k = 1; expected one row for each value",
    ),
    "parameter": ("bench.row = ()", "tiny.gin:7: 'bench' has no parameter 'row'; did you mean "),
    "type": ("bench.seeds = 3", "tiny.gin:7: bench.seeds is 3, expected "),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence_with_its_place(name: str, world: World) -> None:
    """File and line, what is wrong, what was expected."""
    text, sentence = MISTAKES[name]
    with pytest.raises(UserError) as caught:
        world.declare(ALONE, text=f"{text}\n")
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_a_seed_on_the_command_line_is_refused(world: World) -> None:
    """A benchmark would run its own seeds all the same."""
    sentence = (
        r"^command line '-p graph.seed = 3': a benchmark sets graph.seed itself; expected --seeds,"
    )
    with pytest.raises(UserError, match=sentence):
        world.declare(ALONE, bindings=["graph.seed = 3"])
    assert world.declare(ALONE, bindings=["MLP.seed = 3"]).given == ("MLP.seed = 3",)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_benchmarks_that_come_along_are_sound(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file that they name is there, and their head says what they are."""
    monkeypatch.chdir(ROOT)
    benchmark = declare(path.relative_to(ROOT))
    assert benchmark.settings.title
    assert path.read_text().startswith("# ")
    assert len({row.name for row in benchmark.rows}) == len(benchmark.rows) > 1


def test_every_table_of_the_paper_is_there() -> None:
    """And one for a few minutes."""
    tables = {"table1", "table2", "table3", "table7", "table8", "fig5", "fig6", "quick"}
    assert tables <= {path.stem for path in FILES}
    rows = declare(ROOT / "gin/bench/table1.gin").rows
    assert [row.name for row in rows if row.name.endswith(" MM")] == [
        f"{name} MM" for name in ("KD", "MLLD", "FitNets", "OFA", "RKD", "CRD")
    ]
    assert len(rows) == 17
    assert len(declare(ROOT / "gin/bench/table1.gin").students) == 8


def test_help_comes_without_torch(tmp_path: Path) -> None:
    """Of the command, too."""
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom mstgraph.cli import main\n"
        "result = CliRunner().invoke(main, ['bench', '--help'])\n"
        "assert result.exit_code == 0 and '--ray' in result.output\n"
        "assert not {'torch', 'ray', 'gin'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
