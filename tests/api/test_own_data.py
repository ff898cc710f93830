"""A folder for data of one's own: what is written is what was found, and nothing is overwritten."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from own_data import write_own_data
from PIL import Image

import mstgraph
from mstgraph.api import own_data
from mstgraph.api.own_data import look
from mstgraph.cli import main
from mstgraph.recipes.table import Table
from mstgraph.support.errors import UserError


def test_what_is_found_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes, seconds and columns of the (synthetic) files, in a recipe that reads as before."""
    monkeypatch.chdir(tmp_path)
    table = write_own_data(tmp_path / "raw", rows=12)
    found = look(table)
    assert found.target == "photo"
    options = found.recipe
    assert (options.rate, options.seconds, options.sizes) == (8000, 0.5, ("photo=36x30",))
    gin_file = mstgraph.new("my data", "raw/table.csv", target="motion", synthetic="tones")
    assert "\nmstgraph run 'my data/my_data.gin'\n" in text_of("my data/README.md")
    plan = mstgraph.load(gin_file).plan
    assert gin_file == Path("my data/my_data.gin")
    assert plan.graph.targets == ("motion",)
    assert {"photo", "tone", "numbers", "fused"} < set(plan.graph.members)


def test_a_folder_of_pictures_has_a_larger_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one modality, a larger network over the same one teaches, beside one of its own."""
    monkeypatch.chdir(tmp_path)
    for number in range(8):
        place = tmp_path / "pictures" / ("cat", "dog")[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (90, 40), (number, 0, 0)).save(place)
    plan = mstgraph.load(mstgraph.new("mine", "pictures")).plan
    assert plan.graph.targets == ("image",)
    assert [teacher.member for teacher in plan.teachers["image"]] == ["larger", "twin"]


def test_what_some_rows_lack_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty cells, the first row's among them; numbers of which a row has a part are not lacked."""
    monkeypatch.chdir(tmp_path)
    text = write_own_data(tmp_path / "raw", rows=12).read_text()
    (tmp_path / "raw/table.csv").write_text(
        text.replace("0.jpg,", ",", 1).replace("5.wav,", ",", 1)
    )
    gin_file = mstgraph.new("mine", "raw/table.csv")
    assert "optional: tuple[str, ...] = ('photo', 'tone')" in Path("mine/recipe.py").read_text()
    assert "Some rows lack `photo`, `tone`" in Path("mine/README.md").read_text()
    store = mstgraph.prepare("mine/recipe.py", "mine/store", raw="raw/table.csv")
    assert not store.read_lengths(np.array([0]))["photo"].any()
    assert mstgraph.load(gin_file).plan.graph.targets == ("photo",)

    (tmp_path / "b.csv").write_text("x,y,label\n1,2,a\n,,b\n" + "3,4,a\n4,5,b\n" * 5)
    assert own_data.look(tmp_path / "b.csv").recipe.optional == ("x", "y")
    (tmp_path / "b.csv").write_text("x,y,label\n1,2,a\n,,b\n" + "3,,a\n4,5,b\n" * 5)
    found = own_data.look(tmp_path / "b.csv").recipe
    assert (found.columns, found.optional) == (("x",), ("x",))
    (tmp_path / "b.csv").write_text("x,y,z,label\n1,,,a\n" + "3,4,5,a\n4,5,6,b\n" * 5)
    found = own_data.look(tmp_path / "b.csv").recipe
    assert (found.columns, found.optional) == (("x",), ())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A folder that holds anything is refused, and bad data leaves no folder behind."""
    table = write_own_data(tmp_path / "raw", rows=4)
    (tmp_path / "a.csv").write_text("x,kind\n1,a\n2,b\n")
    with pytest.raises(UserError, match="is not empty"):
        mstgraph.new(tmp_path / "raw", table)
    with pytest.raises(UserError, match="no column that is called like a label; name it with"):
        mstgraph.new(tmp_path / "mine", tmp_path / "a.csv")
    with pytest.raises(UserError, match="has no modality 'phto'; did you mean 'photo'"):
        mstgraph.new(tmp_path / "mine", table, target="phto")
    with pytest.raises(UserError, match="split 'table' has no part 'test'; expected train and"):
        mstgraph.new(tmp_path / "mine", table)
    assert not (tmp_path / "mine").exists()


def test_what_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same call writes what is missing; what somebody edited stays, and a command is named."""
    monkeypatch.chdir(tmp_path)
    table = write_own_data(tmp_path / "raw", rows=12)
    mstgraph.new("mine", table)
    Path("mine/README.md").unlink()
    Path("mine/store.partial").mkdir()
    assert mstgraph.new("mine", table) == Path("mine/mine.gin")
    assert Path("mine/README.md").is_file()
    with Path("mine/mine.gin").open("a") as file:
        file.write("student_epochs = 3\n")
    edited = Path("mine/mine.gin").read_text()
    with pytest.raises(
        UserError, match=r"mine' is not empty; .* stay as they are, and 'mstgraph p"
    ):
        mstgraph.new("mine", table)
    assert Path("mine/mine.gin").read_text() == edited


def test_of_two_at_once_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both found the folder empty; what the first wrote stays as it is."""
    table = write_own_data(tmp_path / "raw", rows=12)
    found = own_data.look(table)

    def first(*_arguments: object) -> own_data.Found:
        monkeypatch.setattr(own_data, "look", lambda *_: found)
        mstgraph.new(tmp_path / "mine", table, synthetic="first")
        return found

    monkeypatch.setattr(own_data, "look", first)
    with pytest.raises(UserError, match=r"mine' is not empty; expected a folder that is"):
        mstgraph.new(tmp_path / "mine", table, synthetic="second")
    assert "synthetic = 'first'" in (tmp_path / "mine/recipe.py").read_text()
    assert len(list((tmp_path / "mine").iterdir())) == 3


def test_a_column_called_as_a_teacher_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two members of one name would be one, without a word."""
    monkeypatch.chdir(tmp_path)
    for name in ("twin", "tone"):
        np.save(tmp_path / f"{name}.npy", np.zeros((2, 40), "float32"))
    rows = "".join(f"twin.npy,tone.npy,{label}\n" for label in "aabbaabb")
    (tmp_path / "a.csv").write_text(f"twin,tone,label\n{rows}")
    with pytest.raises(UserError, match="a modality is called 'twin', as a teacher will be"):
        mstgraph.new(tmp_path / "mine", tmp_path / "a.csv")
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("value", ["inf", "nan", "1e39", "9" * 400])
def test_a_number_that_is_not_finite_is_refused_by_line(tmp_path: Path, value: str) -> None:
    """Its column is one of numbers all the same, and is not left out in silence."""
    table = tmp_path / "a.csv"
    table.write_text(f"x,label\n{value},a\n" + "1,a\n2,b\n" * 10)
    recipe = Table(table)
    assert [modality.shape for modality in recipe.modalities()] == [(1,)]
    with pytest.raises(UserError, match=r"line 2 of .* in 'x'; expected a number that is finite"):
        recipe.sample(0)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """One of them would be lost."""
    (tmp_path / "a.csv").write_text("x,x,label\n1,2,a\n1,2,b\n")
    with pytest.raises(UserError, match="has two columns 'x'; expected one"):
        mstgraph.new(tmp_path / "mine", tmp_path / "a.csv")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """It is neither a file nor a folder."""
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(UserError, match="is neither a file nor a folder"):
        mstgraph.new(tmp_path / "mine", tmp_path / "a.csv")


def test_all_files_are_written_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stops it half way leaves a folder in which it can begin again."""
    (tmp_path / "a.csv").write_text("x,label\n" + "1,a\n2,b\n" * 10)

    created = own_data._created

    def full(folder: Path, path: Path) -> object:
        if path.name == "README.md":
            raise OSError(errno.ENOSPC, "no space")
        return created(folder, path)

    with monkeypatch.context() as patched:
        patched.setattr(own_data, "_created", full)
        with pytest.raises(UserError, match="no space"):
            mstgraph.new(tmp_path / "mine", tmp_path / "a.csv")
    assert mstgraph.new(tmp_path / "mine", tmp_path / "a.csv").is_file()


def test_many_numbers_are_predicted_as_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a size of about one, as the training rows have them; an empty cell is unknown."""
    monkeypatch.chdir(tmp_path)
    lines = [
        f"{row},{'' if row == 3 else 2.5 * row},{'train' if row < 24 else 'test'}\n"
        for row in range(30)
    ]
    Path("a.csv").write_text("x,price,split\n" + "".join(lines))
    gin_file = mstgraph.new("mine", "a.csv", label="price")
    store = mstgraph.prepare("mine/recipe.py", "mine/store", raw="a.csv", progress=False)
    labels = store.read_labels(np.arange(30))[:, 0]
    known = np.array([2.5 * row for row in range(24) if row != 3])
    expected = (2.5 * np.arange(30) - known.mean()) / known.std()
    assert np.isnan(labels[3])
    np.testing.assert_allclose(np.delete(labels, 3), np.delete(expected, 3), rtol=1e-3, atol=1e-3)
    document = mstgraph.load(gin_file).document()
    assert (document["task"]["kind"], document["task"]["outputs"]) == ("regression", 1)
    assert "the number `price` to be predicted, as (`price` − 29.67)" in text_of("mine/README.md")
    with pytest.raises(UserError, match="has 29 different values in 30 rows; expected classes"):
        own_data.look(Path("a.csv"), "price", task="classification")
    Path("b.csv").write_text("x,label\n" + "1,2\n2,high\n" * 5)
    with pytest.raises(UserError, match=r"line 3 of b\.csv has 'high' in 'label'; expected a num"):
        own_data.look(Path("b.csv"), task="regression")


@pytest.mark.parametrize("cell", ["NA", "inf", "1e300"])
def test_a_label_among_numbers_that_is_none_is_named(tmp_path: Path, cell: str) -> None:
    """Before anything is written: it has no mean, and the others are no classes."""
    cells = [cell, *(1.5 * row for row in range(29))]
    (tmp_path / "a.csv").write_text("x,label\n" + "".join(f"1,{value}\n" for value in cells))
    with pytest.raises(UserError, match=f"line 2 of .* has '{cell}' in 'label'; expected a number"):
        mstgraph.new(tmp_path / "mine", tmp_path / "a.csv")
    assert not (tmp_path / "mine").exists()


def text_of(path: str) -> str:
    """Return what a file says."""
    return Path(path).read_text(encoding="utf-8")


def test_what_is_left_out_is_said_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers that some rows lack, a word among numbers, a column that is called like a split."""
    monkeypatch.chdir(tmp_path)
    rows = [
        f"{n},{'' if n == 2 else n},{'NA' if n == 4 else n},{n % 5},{'ab'[n % 2]}\n"
        for n in range(20)
    ]
    Path("a.csv").write_text("x,y,z,fold,label\n" + "".join(rows))
    mstgraph.new("mine", "a.csv")
    said = text_of("mine/README.md")
    assert "- `numbers`: 1 from `x`\n" in said
    assert "Left out, as some rows lack them and have other numbers (fill them in to use" in said
    assert "Left out, as not all values are numbers: `z` ('NA')." in said
    assert "Left out, as it is called like a split, but says no part: `fold`." in said
    with pytest.raises(UserError, match=r"'a\.csv' has no column 'lable'; did you mean 'label'"):
        own_data.look(Path("a.csv"), "lable")
    with pytest.raises(UserError, match=r"line 2 of a\.csv has '0' in 'fold'"):
        own_data.look(Path("a.csv"), split="fold")
    with pytest.raises(UserError, match="has an empty 'y' beside other numbers; expected all of a"):
        Table(Path("a.csv"), ("x", "y")).sample(2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x;label\n1;a\n", "names a single column, but holds ';'; expected columns"),
        (
            "p,label\nno.png,a\n",
            r"but there is no '.*no\.png'; expected paths as they are seen from",
        ),
        ("x,label\n1,a\n", "has no two classes, but 'a' alone$"),
    ],
)
def test_what_strangers_bring_is_told(tmp_path: Path, text: str, sentence: str) -> None:
    """In one sentence that says what to do."""
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=sentence):
        own_data.look(tmp_path / "a.csv")


def test_what_systems_leave_in_folders_is_no_sample(tmp_path: Path) -> None:
    """Hidden files, and those of an archive from a Mac."""
    for name in ("a/0.png", "b/1.png", "__MACOSX/a/._0.png", "a/.2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    assert Table(tmp_path).rows.columns["image"] == ["a/0.png", "b/1.png"]


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command does, with the files that it has written."""
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("x,label\n" + "1,a\n2,b\n" * 10)
    words = ["new", "mine", "--from", "a.csv"]
    with monkeypatch.context() as patched:
        patched.setattr(Table, "sample", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        stopped = CliRunner().invoke(main, words)
    assert stopped.exit_code == 130
    assert stopped.stderr.endswith("mstgraph: stopped; the same command continues\n")
    assert "`numbers`: 1 from `x`" in stopped.stdout
    assert CliRunner().invoke(main, words).exit_code == 0
