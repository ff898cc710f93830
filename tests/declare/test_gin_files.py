"""Loading gin files: includes, imports, who wins, and what is refused with its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import gin
import pytest
from tiny_graphs import ROOT, TWO

from mstgraph.declare.configuration import find_file
from mstgraph.declare.load import load
from mstgraph.derive.experiment import Experiment
from mstgraph.stages.ci import CI
from mstgraph.support.errors import UserError

Make = Callable[..., Experiment]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: str, text: str) -> Path:
    """Write a file and the folders above it."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def refused(files: list[str], *bindings: str) -> str:
    """Return the one sentence that loading is refused with."""
    with pytest.raises(UserError) as caught:
        load(files, bindings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_command_line_wins_over_files_and_later_files_over_earlier(folder: Path) -> None:
    """Bindings take effect in the order files, includes, command line."""
    write("a.gin", "CI.epochs = 1\nSTA.epochs = 1\nDKD.epochs = 1\n")
    write("b.gin", "include 'a.gin'\nCI.epochs = 2\n")
    write("c.gin", "STA.epochs = 3\n")
    with load(["b.gin", "c.gin"], ["DKD.epochs = 4"]).entered():
        found = [gin.query_parameter(f"{name}.epochs") for name in ("CI", "STA", "DKD")]
    assert found == [2, 3, 4]


def test_nothing_is_left_of_what_was_loaded_before(folder: Path) -> None:
    """A second load starts from nothing, also for places and macros."""
    write("a.gin", "E = 1\nCI.epochs = %E\nCI.learning_rate = 0.5\n")
    write("b.gin", "CI.epochs = 2\n")
    load(["a.gin"])
    configuration = load(["b.gin"])
    with configuration.entered():
        assert CI() == CI(epochs=2)
    assert list(configuration.locations) == [("", "mstgraph.CI", "epochs")]
    assert configuration.macros == {}


@pytest.mark.parametrize("place", ["common.gin", "deep/common.gin", "deep/er/common.gin"])
def test_includes_are_found_beside_the_file_above_it_and_from_here(
    folder: Path, place: str
) -> None:
    """The working directory, the file's folder and every folder above it are searched."""
    write(place, "CI.epochs = 7\n")
    main = write("deep/er/main.gin", "include 'common.gin'\n").resolve()
    with load([main]).entered():
        assert CI().epochs == 7


def test_includes_are_found_from_the_working_directory_first(folder: Path) -> None:
    """`gin/base/…` means the same from wherever the file lies."""
    write("base.gin", "CI.epochs = 1\n")
    write("sub/base.gin", "CI.epochs = 2\n")
    write("sub/main.gin", "include 'base.gin'\n")
    with load(["sub/main.gin"]).entered():
        assert CI().epochs == 1


def test_the_place_of_a_binding_is_known(folder: Path) -> None:
    """Statements, blocks, included files and the command line."""
    write("base.gin", "# nothing\nCI.epochs = 1\n")
    write(
        "a.gin",
        "include 'base.gin'\ngraph.rgb = @rgb/Member()\nrgb/Member:\n  network = @MLP\n"
        "  masks = ()\n",
    )
    found = load(["a.gin"], ["STA.epochs = 3"])
    assert found.where("CI", "epochs") == "base.gin:2"
    assert found.where("Member", "masks", "rgb") == "a.gin:5"
    assert found.where("STA", "epochs", "rgb") == "command line '-p STA.epochs = 3'"
    assert found.on_command_line("STA", "epochs")
    # Nobody bound inputs: the member's declaration is the next best place.
    assert found.where("Member", "inputs", "rgb") == "a.gin:2"
    assert found.exactly_where("Member", "inputs", "rgb") is None


def test_a_missing_file_names_the_nearest_one(folder: Path) -> None:
    """Given, included, and of no resemblance at all."""
    write("own/mfeat_zer.gin", "include 'own/base/mst.gin'\n")
    write("own/base/mts.gin", "")
    assert refused(["own/mfeat_zr.gin"]) == (
        "there is no file 'own/mfeat_zr.gin': looked in the working directory, and in "
        f"'{ROOT}'; did you mean 'own/mfeat_zer.gin'? (valid: own/mfeat_zer.gin)"
    )
    assert refused(["own/mfeat_zer.gin"]) == (
        "own/mfeat_zer.gin:1: there is no file 'own/base/mst.gin': looked in the working "
        f"directory, in and above '{folder / 'own'}', and in '{ROOT}'; did you mean "
        "'own/base/mts.gin'? (valid: own/base/mts.gin)"
    )
    assert refused(["nowhere/x.gin"]) == (
        f"there is no file 'nowhere/x.gin': looked in the working directory, and in '{ROOT}'"
    )
    assert refused(["own"]) == "'own' is a folder, expected a file"


def test_a_file_that_includes_itself_is_refused(folder: Path) -> None:
    """Also over other files; the chain is printed as arrows."""
    write("a.gin", "include 'a.gin'\n")
    assert refused(["a.gin"]) == (
        "a.gin:1: a gin file includes itself: a.gin → a.gin; remove one of the includes"
    )
    write("a.gin", "include 'b.gin'\n")
    write("b.gin", "CI.epochs = 1\ninclude './c.gin'\n")
    write("c.gin", f"include '{folder / 'b.gin'}'\n")
    assert refused(["a.gin"]) == (
        "c.gin:1: a gin file includes itself: b.gin → c.gin → b.gin; remove one of the includes"
    )


def test_a_file_may_be_included_twice(folder: Path) -> None:
    """A diamond of includes is no circle."""
    write("base.gin", "CI.epochs = 1\n")
    write("a.gin", "include 'base.gin'\n")
    write("b.gin", "include 'base.gin'\ninclude 'a.gin'\nCI.epochs = 5\n")
    with load(["b.gin"]).entered():
        assert CI().epochs == 5


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("CI.epochs = 1\nCI.epochs 2\n", 2),
        ("CI.epochs = 1\nCI.learning_rate = fast\n", 2),
        ("CI.epochs = (1,\n", 2),
        ("CI.epochs =\n", 1),
        ("CI.epochs = 1\n\ninclude mst\n", 3),
        ("rgb/Member:\nnetwork = @MLP\n", 2),
        ("CI.epochs = 'one\n", 1),
    ],
)
def test_a_syntax_error_names_file_and_line(folder: Path, text: str, line: int) -> None:
    """Whatever gin's parser stumbles over, in one sentence."""
    write("a.gin", text)
    message = refused(["a.gin"])
    assert message.startswith(f"a.gin:{line}: gin cannot read this: ")
    assert message.endswith("; expected 'scope/Name.parameter = value'")


@pytest.mark.parametrize("binding", ["CI.epochs", "CI.epochs = ten", "CI.epochs == 3", "= 3", "1"])
def test_a_binding_without_syntax_names_itself(folder: Path, binding: str) -> None:
    """The sentence repeats what was given with -p."""
    message = refused([], binding)
    assert message.startswith(f"command line '-p {binding}': gin cannot read this: ")


UNKNOWN = {
    "CI.epoch = 1": "'CI' has no parameter 'epoch'; did you mean 'epochs'? (valid: accumulate, ",
    "CII.epochs = 1": "unknown name 'CII'; did you mean 'CI'? (valid: ",
    "rgb/Membr.masks = ()": "unknown name 'Membr'; did you mean 'Member'? (valid: ",
    "Membr:\n  masks = ()": "unknown name 'Membr'; did you mean 'Member'? (valid: ",
    "Member.network = @FuseNett": "there is no configurable '@FuseNett'; did you mean 'FuseNet'?",
    "CI.alignment = @soft/KLL()": "there is no configurable '@KLL'; did you mean 'KL'? (valid: ",
    "CI.epochs = %E": "'%E' has no value",
    "CI.epochs = 2\nE = 1": "nothing uses '%E', which 'E = …' sets; a setting is written ",
    "graph.rgb = @rgb/Member()\nrg/MLP.hidden = (1,)": "nobody enters the scope 'rg' of "
    "'rg/MLP.hidden'; a scope is the name of a member; did you mean 'rgb'? (valid: rgb)",
    "graph.rgb = @rgb/Member()\nrgb/soft/KL.temperature = 1": "nobody enters the scope 'soft' of "
    "'rgb/soft/KL.temperature'; a scope is the name of a member (valid: rgb)",
    "import no_such_module_anywhere": "cannot import 'no_such_module_anywhere': No module named "
    "'no_such_module_anywhere'; expected a module beside the gin file",
}


@pytest.mark.parametrize("text", UNKNOWN)
def test_an_unknown_name_is_refused_with_its_place(folder: Path, text: str) -> None:
    """Gin would ignore some of these silently; each names its line and the nearest name."""
    write("a.gin", text + "\n")
    line = 1 if text.startswith("Membr") else text.count("\n") + 1
    assert refused(["a.gin"]).startswith(f"a.gin:{line}: {UNKNOWN[text]}")


WRONG = {
    "CI.epochs = 'ten'": "CI.epochs is 'ten', expected an integer",
    "CI.epochs = 2.0": "CI.epochs is 2.0, expected an integer",
    "CI.epochs = True": "CI.epochs is True, expected an integer",
    "CI.epochs = None": "CI.epochs is None, expected an integer",
    "CI.learning_rate = '1e-3'": "CI.learning_rate is '1e-3', expected a number",
    "CI.batch_size = 'all'": "CI.batch_size is 'all', expected an integer or None",
    "CI.alignment = @KL": "CI.alignment is @KL, expected a ResponseLoss, written '@Name()'",
    "CI.alignment = @MLP": "CI.alignment is @MLP, expected a ResponseLoss, written '@Name()'",
    "CI.alignment = @Gate()": "CI.alignment is @Gate(), expected '@Gate' without parentheses",
    "CI.optimizer = @Adam()": "CI.optimizer is @Adam(), expected '@Adam' without parentheses",
    "CI.optimizer = @rgb/Adam": "CI.optimizer is @rgb/Adam, expected '@Adam': it is called in the "
    "member's own scope",
    "CI.optimizer = 'Adam'": "CI.optimizer is 'Adam', expected a reference without parentheses, "
    "'@Name'",
    "Member.masks = 5": "Member.masks is 5, expected a tuple of strings",
    "Member.masks = ('a', 5)": "Member.masks is ('a', 5), expected a tuple of strings",
    "Member.inputs = {'rgb': 1}": "Member.inputs is {'rgb': 1}, expected a tuple of strings",
    "Member.teaches = 1.5": "Member.teaches is 1.5, expected a tuple of strings or None",
    "Member.network = @MLP()": "Member.network is @MLP(), expected '@MLP' without parentheses",
    "Member.network = 'MLP'": "Member.network is 'MLP', expected a reference without parentheses, "
    "'@Name' or None",
    "graph.seed = '0'": "graph.seed is '0', expected an integer",
    "graph.target = 3": "graph.target is 3, expected a string in quotes or a tuple of strings",
    "graph.gate = @Gate()": "graph.gate is @Gate(), expected '@Gate' without parentheses",
    "graph.alone = 'no'": "graph.alone is 'no', expected True or False",
    "data.store = None": "data.store is None, expected a string in quotes",
    "data.options = 'size=3'": "data.options is 'size=3', expected a dict",
    "data.normalisation = 'minmx'": "data.normalisation is 'minmx', expected 'standard', 'minmax', "
    "'imagenet', 'none' or a dict; did you mean 'minmax'?",
    "DKD.distillation_decay = 0.5": "DKD.distillation_decay is 0.5, expected a tuple of 2: a "
    "number, an integer",
    "DKD.distillation_decay = (0.5, 30, 1)": "DKD.distillation_decay is (0.5, 30, 1), expected a "
    "tuple of 2: a number, an integer",
    "KL.temperature = '4'": "KL.temperature is '4', expected a number",
    "MLP.hidden = '64'": "MLP.hidden is '64', expected a tuple of integers",
    "MLP.hidden = (64, 'a')": "MLP.hidden is (64, 'a'), expected a tuple of integers",
    "E = 'ten'\nCI.epochs = %E": "CI.epochs is 'ten', expected an integer",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_value_of_another_type_is_refused_with_its_place(folder: Path, text: str) -> None:
    """One sentence: what it is, and what was expected."""
    write("a.gin", text + "\n")
    assert refused(["a.gin"]) == f"a.gin:{text.count(chr(10)) + 1}: {WRONG[text]}"


@pytest.mark.parametrize(
    "text",
    [
        "CI.epochs = 10",
        "CI.learning_rate = 1",
        "CI.batch_size = None",
        "CI.alignment = @KL()",
        "CI.optimizer = @SGD",
        "Member.masks = 'fusion'",
        "Member.masks = ['a', 'b']",
        "Member.teaches = None",
        "MLP.hidden = [3, 4]",
        "graph.target = ('rgb', 'depth')",
        "data.options = {'size': (96, 128)}",
        "data.split = 3",
        "Adam.betas = (0.9, 0.99)",
        "E = 10\nF = %E\nCI.epochs = %F",
    ],
)
def test_a_value_of_the_right_type_is_let_through(folder: Path, text: str) -> None:
    """Lists stand for tuples, integers for numbers, a string for a tuple of one."""
    write("a.gin", text + "\n")
    load(["a.gin"])


def test_an_overridden_mistake_is_none(folder: Path) -> None:
    """Types are checked of what holds in the end."""
    write("a.gin", "CI.epochs = 'ten'\n")
    with load(["a.gin"], ["CI.epochs = 10"]).entered():
        assert CI().epochs == 10


def test_a_macro_may_lose_its_last_use_to_an_override(folder: Path) -> None:
    """A base file's macro is no mistake because a later binding replaced what used it."""
    write("a.gin", "E = 5\nCI.epochs = %E\n")
    with load(["a.gin"], ["CI.epochs = 10"]).entered():
        assert CI().epochs == 10


def test_a_name_of_two_configurables_is_refused(folder: Path) -> None:
    """A user's network may share its name with a built-in one, but then the module must be said."""
    write(
        "twin_networks.py",
        "import gin\nfrom torch import nn\n\n\n@gin.configurable\nclass FusedMLP(nn.Module):\n"
        "    def __init__(self, inputs, num_outputs):\n        super().__init__()\n",
    )
    write("a.gin", "import twin_networks\nMember.network = @twin_networks.FusedMLP\n")
    write("b.gin", "import twin_networks\nMember.network = @FusedMLP\n")
    write("c.gin", "import twin_networks\nFusedMLP.hidden = (3,)\n")
    load(["a.gin"])
    for name in ("b.gin", "c.gin"):
        message = refused([name])
        assert message.startswith(f"{name}:2: Ambiguous selector 'FusedMLP', matches ")
        assert message.endswith("; write the module in front of the name")


def test_a_users_module_that_fails_is_named(folder: Path) -> None:
    """Whatever it raises, in one sentence."""
    write("broken_network.py", "width = 1 / 0\n")
    write("a.gin", "CI.epochs = 1\nimport broken_network\n")
    assert refused(["a.gin"]) == (
        "a.gin:2: the module 'broken_network' cannot be imported: ZeroDivisionError: division by "
        "zero (broken_network.py:1)"
    )


def test_bindings_that_nothing_reads_are_refused(experiment: Make) -> None:
    """Settings of a stage that is not this member's would be ignored without a word."""
    for binding in ("depth/DKD.epochs = 3", "rgb/STA.epochs = 3", "rgb/FusedMLP.branch = (3,)"):
        name = binding.split(" ")[0]
        with pytest.raises(UserError) as caught:
            experiment(TWO, binding)
        assert str(caught.value) == (
            f"command line '-p {binding}': nothing in this graph reads '{name}'; expected a "
            f"setting of the member '{binding.split('/')[0]}' or of a stage that is its own"
        )


def test_a_dropped_member_may_keep_its_bindings(experiment: Make) -> None:
    """``graph.depth = None`` on the command line is enough to drop a member."""
    bindings = ("depth/STA.epochs = 3", "depth/MLP.hidden = (2,)", "graph.depth = None")
    assert "depth" not in experiment(TWO, *bindings).plan.graph.members


def test_a_named_file_is_found_like_an_include(folder: Path) -> None:
    """Recipes and demonstration profiles; a missing one names place and neighbour."""
    write("sub/deep/a.gin", "CI.epochs = 1\n")
    recipe = write("sub/recipes/one.py", "").resolve()
    configuration = load([Path("sub/deep/a.gin").resolve()])
    assert find_file("recipes/one.py", "a.gin:1", configuration).resolve() == recipe
    with pytest.raises(UserError) as caught:
        find_file("recipes/on.py", "a.gin:1", configuration)
    assert str(caught.value) == (
        "a.gin:1: there is no file 'recipes/on.py': looked in the working directory, in and above "
        f"'{folder / 'sub/deep'}', and in '{ROOT}'; did you mean 'recipes/one.py'? (valid: "
        "recipes/one.py)"
    )


def test_a_named_file_is_found_beside_the_file_that_names_it(folder: Path) -> None:
    """Also if that one is included from elsewhere."""
    recipe = write("data/sets/one.py", "").resolve()
    write("data/sets/one.gin", "data.recipe = 'one.py'\n")
    write("here/a.gin", "include 'data/sets/one.gin'\n")
    configuration = load(["here/a.gin"])
    place = configuration.where("data", "recipe")
    assert find_file("one.py", place, configuration).resolve() == recipe


def test_what_is_shipped_is_found_from_anywhere(folder: Path) -> None:
    """Given, included and named; a file of that name in the working directory comes first."""
    write("mine.gin", "include 'gin/mfeat_zer.gin'\n")
    for given in ("mine.gin", "gin/mfeat_zer.gin"):
        configuration = load([given])
        place = configuration.where("data", "recipe")
        assert find_file("datasets/mfeat.py", place, configuration) == ROOT / "datasets/mfeat.py"
    write("gin/base/mfeat.gin", "CI.epochs = 7\n")
    with load(["gin/mfeat_zer.gin"]).entered():
        assert CI().epochs == 7


@pytest.mark.parametrize("path", sorted((ROOT / "gin").glob("*.gin")), ids=os.path.basename)
def test_every_gin_file_of_the_project_loads(path: Path) -> None:
    """From any working directory, together with the parts that it includes."""
    load([path])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = %a\nCI.epochs = %a\n", "a.gin:1: macros stand for each other in a circle: %a → %a;"),
        (
            "a = %b\nb = (1, %c)\nc = %a\nCI.epochs = %a\n",
            "macros stand for each other in a circle: %a → %b → %c → %a;",
        ),
        (
            "".join(f"m{k} = %m{k + 1}\n" for k in range(500)) + "m500 = 3\nCI.epochs = %m0\n",
            "a.gin:1: '%m0' stands for another macro, and so on",
        ),
        ("CI.epochs = " + "(" * 5000 + ")" * 5000, "a.gin:1: "),
        ("CI.epochs = " + "[" * 900 + "]" * 900, "a.gin:1: "),
        ("CI.epochs = " + "{1: " * 5000 + "}" * 5000, "a.gin:1: "),
    ],
    ids=["itself", "circle", "row", "brackets", "lists", "dicts"],
)
def test_what_has_no_end_is_refused(folder: Path, text: str, told: str) -> None:
    """Circles by name, nesting by its line; neither memory nor a traceback."""
    write("a.gin", text)
    said = refused(["a.gin"])
    assert told in said
    assert len(said) < 400


def test_a_long_binding_is_told_in_short(folder: Path) -> None:
    """A sentence has the length of a sentence."""
    write("a.gin", "CI.epochs = 1\n")
    assert len(refused(["a.gin"], "CI.epochs = " + "(" * 5000)) < 500
