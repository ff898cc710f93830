"""A student answers to raw items as it answers to the store's samples."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from tiny_graphs import TINY_RECIPE
from torch import Tensor, nn

import mstgraph
from mstgraph.cli import main
from mstgraph.networks.presence import InputRule
from mstgraph.predict.predict import Predictions, open_recipe
from mstgraph.run.artefacts.student import Student
from mstgraph.run.execute import Execution
from mstgraph.store import Store, load_recipe
from mstgraph.store.build.builder import build
from mstgraph.store.recipe import Modality, numbers
from mstgraph.support.errors import UserError

pytest_plugins = ("training_fixtures",)


def call(*arguments: str, stdin: str = "") -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, ["predict", "run", *arguments], input=stdin)


@pytest.fixture
def rows(digits_run: Execution) -> np.ndarray:
    """Five samples of the store; ``some.csv`` holds them, under names of columns."""
    values = Store("stores/mfeat").read("zer", np.arange(5))
    head = ",".join(f"zer{number}" for number in range(47))
    np.savetxt("some.csv", values, "%.9g", delimiter=",", header=head, comments="")
    return values


def test_a_table_is_answered_as_the_store_is(rows: np.ndarray) -> None:
    """To the last digit, in Python and as lines of JSON."""
    run = mstgraph.open_run("run")
    with torch.no_grad():
        expected = run.student()(torch.from_numpy(rows)).softmax(1).numpy()
    found = run.predict(["some.csv"], batch=2, device="cpu")
    np.testing.assert_allclose(np.stack([one.outputs for one in found]), expected, rtol=1e-5)
    assert found.skipped == []

    result = call("some.csv", "--json")
    assert result.exit_code == 0, result.output
    said = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["item"] for one in said] == [f"some.csv:{line}" for line in range(2, 7)]
    assert [one["index"] for one in said] == expected.argmax(1).tolist()
    assert said[0]["probabilities"]["3"] == pytest.approx(float(expected[0, 3]), rel=1e-5)


def test_what_cannot_be_read_is_named_and_skipped(rows: np.ndarray) -> None:
    """The others are answered; the exit code says that some were not."""
    np.save("one.npy", rows[0])
    Path("notes.txt").write_text("no numbers")
    result = call("one.npy", "notes.txt", "nothing.npy", "-", stdin="1 2 3\n")
    assert result.exit_code == 1
    skipped = re.findall(r"mstgraph: '(.*?)' is skipped: (.*)", result.stderr)
    assert [name for name, _ in skipped] == ["notes.txt", "nothing.npy", "-:1"]
    assert [reason[:13] for _, reason in skipped] == [
        "it is no .npy",
        "there is no s",
        "it is 3; expe",
    ]
    assert "one.npy" in result.stdout
    assert "nothing" not in result.stdout


def test_values_that_are_no_numbers_are_skipped(rows: np.ndarray) -> None:
    """They are checked as they are before they are stored."""
    result = call("-", stdin=" ".join(["nan"] * 47))
    assert result.exit_code == 1
    assert "expected finite values" in result.stderr


def test_pictures_are_of_maps_alone(rows: np.ndarray) -> None:
    """In one sentence, before anything is written."""
    result = call("some.csv", "--pictures", "maps")
    assert result.exit_code == 2
    assert "has no maps to draw" in result.stderr
    assert not Path("maps").exists()


class Sums(nn.Module):
    """Two outputs: the sum of all that it sees, and of the lengths that it is told."""

    takes_lengths = True

    def forward(self, *inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return [batch, 2]."""
        total = sum(values.flatten(1).sum(1) for values in inputs)
        told = torch.zeros(len(inputs[0])) if lengths is None else lengths.sum(1).float()
        return torch.stack([total, told], 1)


def answers(rows: str, any_will_do: bool, told: list[str]) -> list[list[float]]:
    """What a student of two modalities says of a table; each input is normalised to x + 1."""
    modalities = {
        "gaze": Modality("gaze", "float32", (1, 4), varying=True),
        "touch": Modality("touch", "float32", (2,), optional=True),
    }
    ones = {"factor": [1.0], "offset": [1.0]}
    inputs = [{"modality": n, "shape": [*m.shape], **ones} for n, m in modalities.items()]
    said = {"member": "both", "classes": ["a", "b"], "data": {}, "inputs": inputs}
    experiment: Any = SimpleNamespace(
        task=SimpleNamespace(exclusive_classes=False),
        source=SimpleNamespace(modalities=modalities),
        input_rules={"both": InputRule(any_will_do)},
    )
    Path("t.csv").write_text(rows)
    recipe: Any = SimpleNamespace(columns_read=list, item=numbers)
    where = torch.device("cpu")
    student = Student(Sums(), said, None)
    found = Predictions(experiment, student, recipe, ["t.csv"], 8, where, told.append)
    return [one.outputs.tolist() for one in found]


@pytest.mark.parametrize("any_will_do", [True, False])
def test_items_are_as_incomplete_as_samples_may_be(
    any_will_do: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing, or behind an end, is zero after normalisation, and the network is told."""
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    rows = "gaze,touch\n1 2 3,4 5\n1 2 3 4,\n,4 5\n1 2 3 4 5,4 5\n"
    whole, partly = [9.0 + 11, 5.0], [[14.0, 4.0], [11.0, 2.0]]
    assert answers(rows, any_will_do, told) == [whole, *(partly if any_will_do else [])]
    lacking = [] if any_will_do else ["it has no 'touch', without which", "it has no 'gaze', with"]
    expected = [*lacking, "it is 5; expected 1×4 of 'gaze'"]
    assert len(told) == len(expected)
    assert all(part in sentence for part, sentence in zip(expected, told, strict=True))


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is asked of an experiment whose store a recipe of the user's has prepared."""
    own = tmp_path / "own.py"
    own.write_text(TINY_RECIPE)
    store = build(load_recipe(own, options={"length": 30}), tmp_path / "store")
    monkeypatch.setattr("mstgraph.predict.predict.find_file", lambda *given: own)
    return SimpleNamespace(
        source=SimpleNamespace(store=store),
        data=SimpleNamespace(recipe="own.py"),
        configuration=SimpleNamespace(where=lambda *given: "config.gin:1"),
    )


def test_a_recipe_of_the_users_is_code(asked: Any, tmp_path: Path) -> None:
    """It has the options of the store, is told of, and is refused where no code may be run."""
    told: list[str] = []
    assert len(open_recipe(asked, None, told.append)) == 30
    assert told == [f"a recipe is code: raw items are read by '{tmp_path / 'own.py'}'"]
    open_recipe(asked, True, pytest.fail)
    with pytest.raises(UserError, match=r"own\.py' is code of the run's that would be run"):
        open_recipe(asked, False, told.append)


def test_another_recipe_than_the_stores_is_refused(asked: Any, tmp_path: Path) -> None:
    """It could read items in another way than the student was trained on."""
    (tmp_path / "own.py").write_text(TINY_RECIPE + "\n# edited\n")
    with pytest.raises(UserError, match=r"config\.gin:1: the run's store was prepared by another"):
        open_recipe(asked, True, lambda sentence: None)


@pytest.mark.usefixtures("workspace")
def test_recipes_need_no_raw_data_to_read_an_item() -> None:
    """Of NYU-Depth-V2, 2.8 GB, nobody has more than the pictures that are asked about."""
    path = Path(__file__).parents[2] / "datasets/nyudepth.py"
    recipe = load_recipe(path, None, {"size": [2, 3]}, for_items=True)
    values = np.zeros((3, 2, 3), np.uint8)
    np.save("colours.npy", values)
    modality = Modality("rgb", "uint8", (3, 2, 3))
    np.testing.assert_array_equal(recipe.item(modality, Path("colours.npy")), values)
