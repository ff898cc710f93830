"""From gin files to a checked plan: where the data comes from, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_graphs import ROLES, ROOT, TINY_RECIPE, TWO

from mstgraph.declare.settings import Data
from mstgraph.derive.experiment import Experiment
from mstgraph.derive.opening import open_experiment
from mstgraph.store import Store, load_recipe
from mstgraph.store.build.builder import build
from mstgraph.support.errors import UserError
from mstgraph.support.lookup import SHIPPED

Make = Callable[..., Experiment]

NEEDY = TINY_RECIPE.replace(
    "    seed: int = 0\n",
    '    raw: object = None\n    seed: int = 0\n    requires = "get the raw data first"\n',
).replace("tiny vectors", "real vectors")
NEEDS_RAW = """
data.recipe = 'recipes/needy.py'
data.store = 'stores/needy'
data.batch_size = 5
data.demonstration = 'demo.gin'
Member.network = @MLP
FusedMLP.branch = (4,)
MaskNet.heads = 2
"""
DEMO = "data.recipe = 'recipes/tiny.py'\ndata.store = 'stores/tiny'\nDKD.epochs = 2\n"


@pytest.fixture
def needy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a graph whose data is not there, and a demonstration for it."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "needy.py").write_text(NEEDY)
    (tmp_path / "recipes" / "tiny.py").write_text(TINY_RECIPE)
    (tmp_path / "demo.gin").write_text(DEMO)
    (tmp_path / "graph.gin").write_text(NEEDS_RAW + TWO)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(*bindings: str, files: tuple[str, ...] = ("graph.gin",)) -> str:
    """Return the one sentence that opening is refused with."""
    with pytest.raises(UserError) as caught:
        open_experiment(files, bindings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_its_data_a_graph_runs_as_its_demonstration(needy: Path) -> None:
    """One line says so; the command line still wins; the run has a name of its own."""
    told: list[str] = []
    found = open_experiment(["graph.gin"], ["DKD.epochs = 9"], notice=told.append)
    assert told == [
        "the store 'stores/needy' is not prepared: get the raw data first, then 'mstgraph prepare "
        "recipes/needy.py --raw FILE'; until then the same graph runs on tiny vectors ('demo.gin')"
    ]
    assert (found.data.store, found.source.title) == ("stores/tiny", "tiny vectors")
    assert found.plan.stages["dkd-rgb"].settings.epochs == 9
    assert found.name == "graph-demo"
    assert found.source.store is None
    assert found.source.fingerprint == ""


def test_what_is_given_after_the_file_wins_over_the_demonstration(needy: Path) -> None:
    """A method's file, or one of the user's own, means what it says on stand-in data too."""
    (needy / "own.gin").write_text("DKD.epochs = 5\n")
    found = open_experiment(["graph.gin", "own.gin"], [])
    assert found.plan.stages["dkd-rgb"].settings.epochs == 5
    assert found.source.title == "tiny vectors"


def test_with_its_data_a_graph_needs_no_demonstration(needy: Path) -> None:
    """A prepared store is used, without a word."""
    (needy / "raw").mkdir()
    build(load_recipe(Path("recipes/needy.py"), needy / "raw"), Path("stores/needy"))
    told: list[str] = []
    found = open_experiment(["graph.gin"], notice=told.append)
    assert told == []
    assert (found.name, found.source.title) == ("graph", "real vectors")
    assert found.source.fingerprint


def test_raw_data_that_is_there_is_enough(needy: Path) -> None:
    """The recipe's word is taken for what the store will hold, until it is built."""
    (needy / "raw").mkdir()
    found = open_experiment(["graph.gin"], ["data.raw = 'raw'"])
    assert (found.name, found.source.title, found.source.store) == ("graph", "real vectors", None)


def test_a_missing_store_is_built_if_that_is_asked_for(needy: Path) -> None:
    """``prepare`` gets the data's settings and the recipe's file."""
    seen = []

    def prepare(data: Data, recipe: Path) -> Store:
        seen.append((data.store, recipe))
        return build(load_recipe(recipe), Path(data.store))

    found = open_experiment(["graph.gin"], prepare=prepare)
    assert seen == [("stores/tiny", Path("recipes/tiny.py"))]
    assert found.source.store is not None
    assert open_experiment(["graph.gin"], prepare=prepare).source.fingerprint
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("bindings", "sentence"),
    [
        (
            ["data.store = 'elsewhere'"],
            "command line '-p data.store = 'elsewhere'': the store 'elsewhere' does not exist, and "
            "recipe recipes/needy.py needs raw data, expected with --raw: get the raw data first",
        ),
        (
            ["data.raw = 'nowhere'"],
            "command line '-p data.raw = 'nowhere'': the store 'stores/needy' does not exist, and "
            "recipe recipes/needy.py got raw data at nowhere, which does not exist: get the raw "
            "data first",
        ),
        (
            ["data.demonstration = None"],
            "graph.gin:3: the store 'stores/needy' does not exist, and recipe recipes/needy.py "
            "needs raw data, expected with --raw: get the raw data first",
        ),
        (
            ["data.demonstration = 'dmo.gin'"],
            "command line '-p data.demonstration = 'dmo.gin'': there is no file 'dmo.gin': looked "
            "in the working directory, in and above '{here}', and in '{shipped}'; did you mean "
            "'demo.gin'? (valid: demo.gin, graph.gin)",
        ),
        (
            ["data.recipe = 'recipes/nedy.py'"],
            "command line '-p data.recipe = 'recipes/nedy.py'': there is no file "
            "'recipes/nedy.py': looked in the working directory, in and above '{here}', and in "
            "'{shipped}'; did you mean 'recipes/needy.py'? (valid: recipes/needy.py, "
            "recipes/tiny.py)",
        ),
        (["data.store = ''"], "data.store is missing; include a data set's gin file"),
        (["data.recipe = ''"], "data.recipe is missing; include a data set's gin file"),
    ],
)
def test_no_stand_in_for_data_that_was_asked_for(
    needy: Path, bindings: list[str], sentence: str
) -> None:
    """Who names a store, a recipe or raw data wants these, and is told what is missing."""
    sentence = sentence.format(here=needy, shipped=SHIPPED)
    message = refused(*bindings)
    assert message.removeprefix(f"command line '-p {bindings[0]}': ") == (
        sentence.removeprefix(f"command line '-p {bindings[0]}': ")
    )
    if sentence.startswith("command line"):
        assert message.startswith(f"command line '-p {bindings[0]}': ")


def test_no_stand_in_for_a_store_that_is_being_prepared(needy: Path) -> None:
    """A build was begun: somebody wants the real data."""
    (needy / "stores" / "needy.partial").mkdir(parents=True)
    assert refused().startswith("graph.gin:3: the store 'stores/needy' is only half prepared, and ")


def test_settings_of_the_data_are_checked(write_gin: Callable[..., Path], tiny_store: Path) -> None:
    """Splits, batch sizes and options that cannot be, before anything runs."""
    path = write_gin(TWO)
    assert refused("data.split = '7'", files=(str(path),)) == (
        f"command line '-p data.split = '7'': the store '{tiny_store}' has no split '7' "
        "(valid: 0, 1, 2, 3, 4)"
    )
    assert refused("data.batch_size = 0", files=(str(path),)) == (
        "command line '-p data.batch_size = 0': data.batch_size is 0, expected at least 1"
    )
    message = refused("data.options = {'sed': 1}", files=(str(path),))
    assert message.endswith(
        "was prepared by a recipe without the option 'sed'; did you mean 'seed'? (valid: length, "
        "seed)"
    )
    message = refused("data.options = {'seed': 1}", files=(str(path),))
    assert message.endswith(
        "was prepared with seed = 0, but 1 is asked for; remove it, or name another one in "
        "data.store"
    )


def test_a_store_of_another_recipe_is_refused(needy: Path) -> None:
    """Edited since, or another one; a store whose recipe is not here has nothing to be compared."""
    build(load_recipe(Path("recipes/tiny.py")), Path("stores/tiny"))
    files = ("graph.gin", "demo.gin")
    before = open_experiment(files).source.fingerprint
    (needy / "recipes" / "tiny.py").write_text(TINY_RECIPE.replace("% 3", "% 2"))
    assert refused(files=files) == (
        "demo.gin:1: the store 'stores/tiny' was prepared by 'recipes/tiny.py' before it was "
        "edited; expected its own recipe in data.recipe, another place in data.store, or that you "
        "remove it to have it prepared again"
    )
    (needy / "recipes" / "other.py").write_text(TINY_RECIPE + "# other\n")
    assert refused("data.recipe = 'recipes/other.py'", files=files).startswith(
        "command line '-p data.recipe = 'recipes/other.py'': the store 'stores/tiny' was prepared "
        "by 'tiny.py', not by 'recipes/other.py'; "
    )
    assert open_experiment(files, finished=True).source.fingerprint == before
    (needy / "recipes" / "tiny.py").unlink()
    assert open_experiment(files).source.fingerprint == before


@pytest.mark.parametrize(
    ("binding", "sentence"),
    [
        ("DKD.k = 5", "DKD.k is 5, expected 1 to N = 4 teachers (fused.fusion, fused.hidden1, "
         "depth.hidden1, depth.hidden2)"),
        ("rgb/DKD.k = 0", "DKD.k is 0, expected 1 to N = 4 teachers (fused.fusion, fused.hidden1, "
         "depth.hidden1, depth.hidden2)"),
        ("CI.epochs = 0", "CI.epochs is 0, expected at least 1"),
        ("depth/STA.learning_rate = -0.1", "STA.learning_rate is -0.1, expected more than 0"),
        ("STA.batch_size = 0", "STA.batch_size is 0, expected at least 1"),
        ("DKD.gate_weight = -1.0", "DKD.gate_weight is -1.0, expected at least 0"),
        ("DKD.routing = 'topk'", "DKD.routing is 'topk', expected 'top-k', 'mean', 'confidence' "
         "or 'correctness'; did you mean 'top-k'?"),
        ("fused/KL.temperature = 0.0", "KL.temperature is 0.0, expected more than 0"),
        ("SGD.lr = 3.0", "the stage gives SGD.lr; expected CI.learning_rate in its place"),
    ],
)  # fmt: skip
def test_settings_of_the_stages_are_checked(experiment: Make, binding: str, sentence: str) -> None:
    """Each sentence names the binding's place, the setting and what was expected."""
    with pytest.raises(UserError) as caught:
        experiment(TWO, "CI.optimizer = @SGD" if "SGD" in binding else "CI.epochs = 1", binding)
    assert str(caught.value) == f"command line '-p {binding}': {sentence}"


@pytest.mark.parametrize(
    ("bindings", "words"),
    [
        (["Adam.betas = (2.0, 2.0)"], "Invalid beta parameter at index 0: 2.0"),
        (["Adam.betas = (0.9, 1.0)"], "Invalid beta parameter at index 1: 1.0"),
        (["Adam.weight_decay = -0.1"], "Invalid weight_decay value: -0.1"),
        (["Adam.eps = -1.0"], "Invalid epsilon value: -1.0"),
        (["Adam.fused = True", "Adam.foreach = True"], "cannot be `True` together"),
        (["Adam.differentiable = True"], "`fused` does not support `differentiable`"),
        (["CI.optimizer = @SGD", "SGD.momentum = -0.5"], "Invalid momentum value: -0.5"),
        (["CI.optimizer = @SGD", "SGD.weight_decay = -1.0"], "Invalid weight_decay value: -1.0"),
        (["CI.optimizer = @SGD", "SGD.nesterov = True"], "Nesterov momentum requires a momentum"),
    ],
)
def test_an_optimiser_that_cannot_be_built_is_refused(
    experiment: Make, bindings: list[str], words: str
) -> None:
    """Torch's own words, with the stage in front; a plan can be made of nothing else."""
    with pytest.raises(UserError) as caught:
        experiment(TWO, *bindings)
    assert "the optimiser of stage ci cannot be built: " in str(caught.value)
    assert words in str(caught.value)


def test_a_users_network_beside_its_gin_file(
    tmp_path: Path, write_gin: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``import my_network`` is all it takes; also when loaded again, from elsewhere."""
    (tmp_path / "beside_network.py").write_text(
        "import gin\nfrom torch import nn\n\n\n@gin.configurable\nclass Beside(nn.Module):\n"
        "    def __init__(self, inputs, num_outputs, width=3):\n        super().__init__()\n"
        "        ((features,),) = inputs.values()\n"
        "        self.layer = nn.Linear(features, width)\n"
        "        self.classifier = nn.Linear(width, num_outputs)\n\n"
        "    def forward(self, x):\n        return self.classifier(self.layer(x).relu())\n"
    )
    path = write_gin(
        "import beside_network\n"
        + TWO.replace("('hidden1', 'hidden2')", "('layer',)")
        + "depth/Member.network = @Beside\ndepth/Beside.width = 4\n"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for _ in range(2):
        found = open_experiment([path])
        assert found.parts.members["depth"].network == "Beside"
        assert found.parts.members["depth"].points == {"layer": (4,)}
    assert "import beside_network" in found.gin_text


def test_experiments_leave_nothing_to_each_other(experiment: Make) -> None:
    """Opening one after another gives what each gives alone."""
    first = experiment()
    experiment(TWO, "graph.depth = None", "CI.epochs = 2", "MLP.hidden = (3, 3)")
    again = experiment()
    assert again.gin_text == first.gin_text
    assert again.plan.stages["dkd-rgb"].hash == first.plan.stages["dkd-rgb"].hash


@pytest.mark.parametrize("name", ["RKD", "CRD", "FitNets", "C2KD", "MLLD", "OFA"])
def test_a_gate_refuses_a_loss_that_is_not_made_of_single_samples(
    write_gin: Callable[..., Path], name: str
) -> None:
    """Of whichever member, in one sentence with the line of its loss."""
    text = TWO + ROLES
    path = write_gin(f"{text}depth/Member.loss = @{name}()\n")
    line = path.read_text().splitlines().index(f"depth/Member.loss = @{name}()") + 1
    assert refused(files=(str(path),)) == (
        f"{path}:{line}: the loss {name} of member 'depth' is not made of logits of single "
        "samples, so no gate can route it; expected graph.gate = None, or a loss such as KL"
    )
    # Of somebody whom the gate does not route, it may be any loss.
    open_experiment([path], ["graph.teachers = 'multimodal'"])


def test_settings_of_the_stages_of_methods_are_checked(method: Make) -> None:
    """Each at the place where it stands, in the scope that it holds in."""
    cases = {
        ("fitnets", "Hint.select = 'metric'"): (
            "Hint.select is 'metric', expected 'loss' or 'last': no response is measured here"
        ),
        ("kd", "rgb/Distill.task_weight = -0.5"): (
            "Distill.task_weight is -0.5, expected at least 0"
        ),
        ("kd", "Distill.distillation_weight = 1.5"): (
            "Distill.distillation_weight is 1.5, expected 0 to 1"
        ),
        ("crd", "fused/CRD.negatives = 0"): (
            "CRD.negatives is 0, expected a whole number of at least 1"
        ),
        ("mgdfr", "depth/Salience.repeats = 0"): "Salience.repeats is 0, expected at least 1",
    }
    for (name, binding), sentence in cases.items():
        with pytest.raises(UserError) as caught:
            method(name, binding)
        assert str(caught.value) == f"command line '-p {binding}': {sentence}"
    # A task weight of its own lets the other weight be anything.
    method("kd", "Distill.distillation_weight = 1.5", "Distill.task_weight = 1.0")


def test_a_setting_of_a_stage_that_a_method_does_not_have_is_refused(method: Make) -> None:
    """In a member's scope; unscoped, files hold settings of stages that not every graph has."""
    with pytest.raises(UserError, match=r"nothing in this graph reads 'rgb/Hint\.epochs'; expect"):
        method("kd", "rgb/Hint.epochs = 3")
    assert method("kd", "Hint.epochs = 3").plan.stages["distill-rgb"].settings.epochs == 100
    hinted = method("fitnets", "rgb/Hint.epochs = 3").plan.stages["hint-rgb"]
    assert hinted.settings.epochs == 3


def test_a_name_tells_the_method(method: Make) -> None:
    """So that runs of several methods on one graph lie in folders of their own."""
    assert method("kd").name == "graph-kd"


def test_a_mask_without_parameters_needs_a_stage_that_measures(method: Make) -> None:
    """By gradient it would learn nothing, and nobody would be told."""
    with pytest.raises(UserError) as caught:
        method("mgdfr", "graph.adaptation = @STA")
    assert "sta-rgb-depth.hidden2 has nothing to train" in str(caught.value)
    assert "'depth' has no parameters, expected a MaskNet, or another stage" in str(caught.value)


def test_macros_that_only_unread_settings_use_are_not_written_down() -> None:
    """What a run leaves as its configuration opens again, whichever settings replaced a macro."""
    bound = [f"{stage}.epochs = 2" for stage in ("Pretrain", "DKD")]
    text = open_experiment([ROOT / "gin/mfeat_zer.gin"], bound).gin_text
    assert "student_epochs" not in text
    assert "student_rate = 0.001" in text
    assert "%student_rate" in text
