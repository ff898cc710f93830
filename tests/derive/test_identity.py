"""A stage's hash: changes with all that can change its result, and with nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from by_name_worlds import captions
from tiny_graphs import METHODS, ROLES, ROOT, TINY_RECIPE, TWO, Make, changed, hashes

from mstgraph.derive import identity as identity_module
from mstgraph.derive.identity import digest
from mstgraph.derive.opening import open_experiment
from mstgraph.run.artefacts.changes import changes
from mstgraph.store import load_recipe
from mstgraph.store.build.builder import build
from mstgraph.support.errors import UserError

STA = ("sta-rgb-fused.fusion", "sta-rgb-fused.hidden1")
STA_DEPTH = ("sta-rgb-depth.hidden1", "sta-rgb-depth.hidden2")
ALL = {"ci", *STA, *STA_DEPTH, "dkd-rgb", "alone-rgb"}
DISTILLED = ALL - {"alone-rgb"}


CHANGES = {
    "CI.epochs = 5": ALL,  # the student alone gets the same budget
    "CI.learning_rate = 0.5": DISTILLED,
    "CI.batch_size = 3": DISTILLED,
    "CI.optimizer = @SGD": DISTILLED,
    "CI.select = 'last'": DISTILLED,
    "CI.alignment_weight = 2.0": DISTILLED,
    "CI.detach = True": DISTILLED,
    "STA.epochs = 5": {*STA, *STA_DEPTH, "dkd-rgb"},
    "depth/STA.epochs = 5": {*STA_DEPTH, "dkd-rgb"},
    "depth/STA.learning_rate = 0.5": {*STA_DEPTH, "dkd-rgb"},
    "DKD.epochs = 5": {"dkd-rgb", "alone-rgb"},
    "DKD.k = 2": {"dkd-rgb"},
    "DKD.routing = 'mean'": {"dkd-rgb"},
    "DKD.gate_weight = 0.5": {"dkd-rgb"},
    "graph.fresh = True": {"dkd-rgb", "alone-rgb"},
    "DKD.balance_decay = (0.5, 3)": {"dkd-rgb"},
    "data.batch_size = 4": ALL,
    "data.split = 2": ALL,
    "data.normalisation = 'minmax'": ALL,
    "graph.seed = 5": ALL,  # the same split, another seed
    "graph.seed = 1": ALL,
    "MLP.hidden = (6, 5)": ALL,
    "rgb/MLP.hidden = (6, 5)": ALL,
    "depth/MLP.hidden = (6, 5)": DISTILLED,
    "fused/FusedMLP.branch = (3,)": DISTILLED,
    "fused/Member.inputs = ('depth', 'rgb')": DISTILLED,
    "fused/Member.inputs = ('rgb', 'audio')": DISTILLED,
    "KL.temperature = 2.0": DISTILLED,
    "KL.temperature_squared = True": DISTILLED,
    "depth/KL.temperature = 2.0": {*STA_DEPTH, "dkd-rgb"},
    "MaskNet.factor = 1": {*STA, *STA_DEPTH, "dkd-rgb"},
    "depth/MaskNet.factor = 1": {*STA_DEPTH, "dkd-rgb"},
    "Gate.activation = False": {"dkd-rgb"},
    "rgb/Gate.detach = True": {"dkd-rgb"},
    "Adam.weight_decay = 0.5": ALL,
    "rgb/Adam.weight_decay = 0.5": {"dkd-rgb", "alone-rgb"},
    "depth/Adam.betas = (0.5, 0.9)": {*STA_DEPTH, "dkd-rgb"},
}


@pytest.mark.parametrize("binding", CHANGES)
def test_hash_changes_with_what_can_change_the_result(experiment: Make, binding: str) -> None:
    """Of the stages that a setting rules, and of all that build on them; of no others."""
    assert changed(experiment(), experiment(TWO, binding)) == CHANGES[binding]


@pytest.mark.parametrize(
    "binding",
    [
        "data.demonstration = 'somewhere/else.gin'",
        "data.raw = 'raw/files'",
        "Distill.epochs = 3",
        "Pretrain.epochs = 3",
        "SGD.momentum = 0.5",
        "FuseNet.width = 0.5",
        "CI.epochs = 100",
        "graph.audio = None",
        "graph.adaptation = @STA",
        "Member.mask = @MaskNet",
        "Member.hints = ('hidden1',)",  # which nothing reads
        "Member.penultimate = 'hidden2'",
        "Hint.epochs = 3",
        "FitNets.temperature = 2.0",
    ],
)
def test_hash_stays_with_what_cannot(experiment: Make, binding: str) -> None:
    """Also a default that is written out is no change."""
    assert changed(experiment(), experiment(TWO, binding)) == set()


HINTED = {"hint-rgb", "distill-rgb"}
MASKED = {"sta-rgb-depth.hidden2", "distill-rgb"}
METHOD_CHANGES = {
    ("fitnets", "Hint.epochs = 3"): {*HINTED, "alone-rgb"},
    ("fitnets", "Hint.learning_rate = 0.5"): HINTED,
    ("fitnets", "rgb/Hint.batch_size = 3"): HINTED,
    ("fitnets", "fused/Member.hints = ('fusion', 'hidden2')"): HINTED,
    ("fitnets", "rgb/Member.hints = ('hidden2', 'hidden1')"): HINTED,
    ("fitnets", "FitNets.temperature = 2.0"): HINTED,
    ("fitnets", "Member.penultimate = 'hidden1'"): set(),
    ("fitnets", "depth/Member.hints = ('hidden1',)"): set(),
    ("rkd", "Member.penultimate = 'hidden1'"): {"distill-rgb"},
    ("rkd", "fused/Member.penultimate = 'fusion'"): {"distill-rgb"},
    ("rkd", "Member.hints = ('hidden1',)"): set(),
    ("rkd", "fused/RKD.angle = 0.5"): {"distill-rgb"},
    ("rkd", "Distill.task_weight = 0.5"): {"distill-rgb"},
    ("ofa", "rgb/Member.hints = ('hidden2',)"): {"distill-rgb"},
    ("ofa", "fused/Member.hints = ('hidden2',)"): set(),
    ("crd", "CRD.width = 9"): {"distill-rgb"},
    ("crd", "Pretrain.epochs = 3"): {"pretrain-fused", "distill-rgb"},
    ("c2kd", "C2KD.threshold = 0.5"): {"distill-rgb"},
    ("mgdfr", "FeatureSelection.removed = 0.5"): MASKED,
    ("mgdfr", "depth/Salience.repeats = 2"): MASKED,
    ("mgdfr", "CI.alignment = @KL()"): {"ci", *MASKED},
    ("mgdfr", "graph.fresh = False"): {"distill-rgb", "alone-rgb"},
    ("camkd", "Distill.weighting = 'confidence'"): {"distill-rgb"},
    ("ensemble", "Distill.ensemble = 'losses'"): {"distill-rgb"},
    ("fdcmkd", "fused/Member.representation = 'fusion'"): set(),
    ("fdcmkd", "depth/Member.representation = 'hidden1'"): {"distill-rgb"},
    ("kd", "Distill.ema = 0.9"): {"distill-rgb", "alone-rgb"},
    ("dml", "CI.detach = False"): {"ci"},
    ("none", "Pretrain.epochs = 3"): {"pretrain-rgb"},
    ("none", "Distill.epochs = 3"): set(),
}


@pytest.mark.parametrize("given", METHOD_CHANGES, ids=" ".join)
def test_hash_changes_with_what_can_change_a_methods_result(
    method: Make, given: tuple[str, str]
) -> None:
    """Layers count where a loss reads them, of the members that it reads them of."""
    assert changed(method(given[0]), method(*given)) == METHOD_CHANGES[given]


def test_methods_share_the_stages_that_they_have_in_common(method: Make) -> None:
    """One pre-trained teacher serves them all, and the student alone is trained once."""
    found = [hashes(method(name)) for name in ("kd", "rkd", "crd", "ofa", "mlld")]
    for stage in ("pretrain-fused", "alone-rgb"):
        assert len({hashed[stage] for hashed in found}) == 1
    assert len({hashed["distill-rgb"] for hashed in found}) == len(found)
    crossed = hashes(method("kd", "graph.teachers = 'cross-modal'"))
    assert crossed["pretrain-depth"] == hashes(method("c2kd"))["pretrain-depth"]


def test_two_experiments_over_the_same_files_are_the_same(experiment: Make) -> None:
    """Nothing depends on memory addresses, sets or the time."""
    first = experiment()
    second = experiment()
    assert hashes(first) == hashes(second)
    for name, node in first.plan.stages.items():
        assert " at 0x" not in str(node.identity)
        assert digest(node.identity) == node.hash == second.plan.stages[name].hash


def test_a_new_member_leaves_other_components_alone(experiment: Make) -> None:
    """A pre-trained teacher more: the others' STA and CI are reused, only DKD is new."""
    text = TWO.replace("Member.mutual = 'all'", "Member.mutual = ()")
    more = text + "graph.audio = @audio/Member()\naudio/Member.masks = ('hidden1',)\n"
    old, new = hashes(experiment(text)), hashes(experiment(more))
    assert {name for name in old if old[name] != new[name]} == {"dkd-rgb"}
    assert new.keys() - old.keys() == {"pretrain-audio", "sta-rgb-audio.hidden1"}


def test_a_new_mask_point_leaves_the_other_teachers_alone(experiment: Make) -> None:
    """Teachers are not named by their index j, so that those behind a new one stay."""
    more = "fused/Member.masks = ('branches.rgb', 'fusion', 'hidden1')"
    old, new = hashes(experiment()), hashes(experiment(TWO, more))
    assert {name for name in old if old[name] != new[name]} == {"dkd-rgb"}


def test_the_order_of_teachers_counts(experiment: Make) -> None:
    """The gate's outputs follow it."""
    swapped = "fused/Member.masks = ('hidden1', 'fusion')"
    assert changed(experiment(), experiment(TWO, swapped)) == {"dkd-rgb"}


def test_a_macro_counts_by_its_value(experiment: Make) -> None:
    """Of settings and of networks alike."""
    text = TWO + "WIDTHS = {}\nEPOCHS = {}\nrgb/MLP.hidden = %WIDTHS\nDKD.epochs = %EPOCHS\n"
    first = experiment(text.format("(6, 5)", 100))
    assert changed(first, experiment(text.format("(6, 7)", 100))) == ALL
    assert changed(first, experiment(text.format("(6, 5)", 9))) == {"dkd-rgb", "alone-rgb"}
    assert changed(first, experiment(TWO, "rgb/MLP.hidden = (6, 5)")) == set()


def test_the_stores_content_counts(write_gin: Callable[..., Path], tiny_recipe: Path) -> None:
    """Another seed of the recipe gives another fingerprint; without a store no hash is equal."""
    before = open_experiment([write_gin(TWO)])
    for seed in (0, 1):
        build(load_recipe(tiny_recipe, None, {"seed": seed}), tiny_recipe.parent / f"seed{seed}")
    path = write_gin(TWO)
    same, other, none = (
        open_experiment([path], [f"data.store = '{tiny_recipe.parent / name}'"])
        for name in ("seed0", "seed1", "nowhere")
    )
    assert changed(before, same) == set()
    assert changed(before, other) == ALL
    assert changed(before, none) == ALL


NETWORK = """
import gin
import torch
from torch import nn


@gin.configurable
class Affine(nn.Module):
    def __init__(self, inputs, num_outputs, weights=None, several=()):
        super().__init__()
        self.layer = nn.Linear(next(iter(inputs.values()))[0], num_outputs)

    def forward(self, x):
        return self.layer(x)
"""
USER = (
    "import identity_network\ngraph.target = 'rgb'\ngraph.rgb = @rgb/Member()\n"
    "graph.depth = @depth/Member()\ndepth/Member.network = @Affine\n"
)


def test_the_source_of_a_users_network_counts(
    write_gin: Callable[..., Path], tmp_path: Path
) -> None:
    """An edited network is never taken for the old one; the other member's stages stay."""
    module = tmp_path / "identity_network.py"
    module.write_text(NETWORK)
    path = write_gin(USER)
    before = open_experiment([path])
    module.write_text(NETWORK + "# edited\n")
    after = open_experiment([path])
    assert changed(before, after) == {"pretrain-depth", "distill-rgb"}
    assert changes(
        before.plan.stages["pretrain-depth"].identity, after.plan.stages["pretrain-depth"].identity
    ) == ["the source file of 'depth' has changed"]

    weights, renamed = tmp_path / "weights.pt", tmp_path / "renamed.pt"
    weights.write_bytes(b"one")
    renamed.write_bytes(b"one")
    first = open_experiment([path], [f"depth/Affine.weights = '{weights}'"])
    moved = open_experiment([path], [f"depth/Affine.weights = '{renamed}'"])
    listed = open_experiment([path], [f"depth/Affine.several = ('{weights}', 3)"])
    weights.write_bytes(b"two")
    edited = open_experiment([path], [f"depth/Affine.weights = '{weights}'"])
    listed_edited = open_experiment([path], [f"depth/Affine.several = ('{weights}', 3)"])
    assert changed(after, first) == {"pretrain-depth", "distill-rgb"}
    assert changed(first, moved) == set(), "the content of a file counts, not its name"
    assert changed(first, edited) == {"pretrain-depth", "distill-rgb"}
    assert changed(listed, listed_edited) == {"pretrain-depth", "distill-rgb"}


LOSS = """
from dataclasses import dataclass
from typing import ClassVar

import gin
from torch import nn

from mstgraph.methods.loss import EdgeLoss


@gin.configurable
@dataclass(frozen=True)
class Apart(EdgeLoss):
    reads: ClassVar[tuple[str, ...]] = ("penultimate",)

    def adapter(self, shapes):
        return nn.Linear(3, 3)

    def edge(self, edge):
        return (edge.adapter(edge.student.logits) - edge.teacher.logits).square().sum(1)
"""


def test_the_source_of_a_users_loss_counts(write_gin: Callable[..., Path], tmp_path: Path) -> None:
    """And of the network that it trains; the teachers stay as they are."""
    module = tmp_path / "identity_loss.py"
    module.write_text(LOSS)
    text = TWO + ROLES + "Member.mutual = ()\ngraph.gate = None\ngraph.points = 'none'\n"
    path = write_gin("import identity_loss\n" + text + "depth/Member.loss = @Apart()\n")
    before = open_experiment([path])
    module.write_text(LOSS + "# edited\n")
    after = open_experiment([path])
    assert changed(before, after) == {"distill-rgb"}
    assert changes(
        before.plan.stages["distill-rgb"].identity, after.plan.stages["distill-rgb"].identity
    ) == [
        "the source file of 'adapter.rgb.depth' has changed",
        "the source file of 'Apart' has changed",
    ]


HELPED = """
from identity_package.blocks import Block
import gin
from torch import nn


@gin.configurable
class Helped(nn.Module):
    def __init__(self, inputs, num_outputs):
        super().__init__()
        self.layer = Block(next(iter(inputs.values()))[0], num_outputs)

    def forward(self, x):
        from identity_late import late

        return scaled(late(self.layer(x)))


@gin.configurable
def scaled(x, factor=1.0):
    return factor * x
"""
BLOCK = """
import gin
from torch import nn

from . import rate


@gin.configurable
class Block(nn.Module):
    def __init__(self, features, outputs, drop=rate.RATE):
        super().__init__()
        self.layer = nn.Linear(features, outputs)
        self.drop = nn.Dropout(drop)

    def forward(self, x):
        return self.drop(self.layer(x))
"""
HELPERS = {
    "identity_package/__init__.py": "",
    "identity_package/blocks.py": BLOCK,
    "identity_package/rate.py": "RATE = 0.0\n",
    "identity_late.py": "def late(x):\n    return x\n",
}
PACKAGE = ("identity_package", "identity_package.blocks", "identity_package.rate")


@pytest.fixture
def helped(write_gin: Callable[..., Path], tmp_path: Path) -> Path:
    """A graph whose depth network is made of several modules of the user's."""
    (tmp_path / "identity_package").mkdir()
    for name, text in {**HELPERS, "identity_helped.py": HELPED}.items():
        (tmp_path / name).write_text(text)
    text = USER.replace("identity_network", "identity_helped").replace("Affine", "Helped")
    return write_gin(text)


@pytest.mark.parametrize("edited", HELPERS)
def test_the_modules_that_a_users_network_imports_count(
    helped: Path, tmp_path: Path, edited: str
) -> None:
    """Directly, through one another, or when the network is run; the other member's stages stay."""
    before = open_experiment([helped])
    (tmp_path / edited).write_text(HELPERS[edited] + "# edited\n")
    after = open_experiment([helped])
    assert changed(before, after) == {"pretrain-depth", "distill-rgb"}
    name = edited.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    assert changes(
        before.plan.stages["pretrain-depth"].identity, after.plan.stages["pretrain-depth"].identity
    ) == [f"the source file of '{name}' has changed"]


def test_a_users_modules_count_by_content_not_by_place(
    helped: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Moved to another folder, they give the same hashes."""
    before = open_experiment([helped])
    moved = tmp_path_factory.mktemp("moved")
    shutil.copytree(tmp_path, moved, dirs_exist_ok=True)
    assert changed(before, open_experiment([moved / helped.name])) == set()


@pytest.mark.parametrize("binding", ["Block.drop = 0.9", "scaled.factor = 2.0"])
def test_what_a_network_calls_by_itself_counts(helped: Path, binding: str) -> None:
    """A configurable that no gin file names: built inside of the network, or called as it runs."""
    before = open_experiment([helped])
    assert changed(before, open_experiment([helped], [binding])) == {
        "pretrain-depth",
        "distill-rgb",
    }
    scoped = open_experiment([helped], ["depth/Block.drop = 0.9"])
    assert changed(before, scoped) == {"pretrain-depth", "distill-rgb"}
    assert changes(
        before.plan.stages["pretrain-depth"].identity, scoped.plan.stages["pretrain-depth"].identity
    ) == ["depth/identity_package.blocks.Block.drop was 0.0, is 0.9"]
    (helped.parent / "config.gin").write_text(scoped.gin_text)
    assert changed(scoped, open_experiment([helped.parent / "config.gin"])) == set()


OPTIMISER = """
import gin
import torch


@gin.configurable
class Halved(torch.optim.SGD):
    def __init__(self, params, lr):
        super().__init__(params, lr / 2)
"""


def test_the_source_of_a_users_optimiser_counts(
    write_gin: Callable[..., Path], tmp_path: Path
) -> None:
    """Of the stages that use it, and of all that build on them."""
    module = tmp_path / "identity_optimiser.py"
    module.write_text(OPTIMISER)
    path = write_gin("import identity_optimiser\n" + TWO + "STA.optimizer = @Halved\n")
    before = open_experiment([path])
    module.write_text(OPTIMISER + "# edited\n")
    assert changed(before, open_experiment([path])) == {*STA, *STA_DEPTH, "dkd-rgb"}


def test_changes_are_told_in_words(experiment: Make) -> None:
    """A stage's own settings first; hashes are replaced by what they stand for."""
    before = experiment().plan.stages["dkd-rgb"].identity
    after = experiment(TWO, "DKD.epochs = 5", "CI.epochs = 3", "rgb/MLP.hidden = (3, 4)")
    told = changes(before, after.plan.stages["dkd-rgb"].identity)
    assert told[:2] == ["parts.rgb.hidden was [6, 4], is [3, 4]", "settings.epochs was 100, is 5"]
    assert "the weights of 'rgb' that it starts from have changed" in told[2:]
    assert changes(before, before) == []
    assert changes({"store": "aa"}, {"store": "bb"}) == ["the store's content has changed"]
    assert changes({"store": "aa"}, {"store": ""}) == ["the store is not there"]
    assert changes({"a": {"b": 1}}, {"c": 2}) == ["a.b was 1, is absent", "c was absent, is 2"]


TOP = sorted(path.name for path in (ROOT / "gin").glob("*.gin"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the project's gin files and recipes, and no store."""
    for name in ("gin", "datasets"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Data sets without a demonstration: modalities and number of classes of a stand-in store.
STAND_INS = {
    "avdigits": ({"image": (1, 28, 28), "audio": (1, 56, 56)}, 10),
    "avmnist": ({"image": (1, 28, 28), "audio": (1, 112, 112)}, 10),
    "crisismmd": ({"image": (2048,), "text": (768,)}, 8),
    "ravdess": ({"visual": (3, 8, 32, 32), "audio": (15, 156)}, 8),
    "vggsound": ({"visual": (32, 10, 7, 7), "audio": (10, 128)}, 8),
}


def build_stand_ins(project: Path) -> None:
    """Build a store of random samples in place of each data set that is not here."""
    for name, (shapes, classes) in STAND_INS.items():
        recipe = project / f"{name}_stand_in.py"
        text = TINY_RECIPE.replace('("cat", "dog", "owl")', f"tuple(map(str, range({classes})))")
        start, end = text.index("widths = "), text.index("\n", text.index("return tuple("))
        shaped = f"return tuple(Modality(n, 'float32', s) for n, s in {shapes}.items())"
        recipe.write_text(text[:start] + shaped + text[end:])
        build(load_recipe(recipe), project / "stores" / name)


@pytest.mark.parametrize("name", TOP)
def test_the_written_configuration_is_the_same_experiment(project: Path, name: str) -> None:
    """Rerunning config.gin reuses every stage, also of the demonstration (no data is here)."""
    bindings, data = ["graph.seed = 3", "DKD.k = 2"], name.split("_")[0]
    if data in STAND_INS:
        build_stand_ins(project)
        bindings += [f"data.recipe = '{data}_stand_in.py'", "data.split = '3'"]
    first = open_experiment([f"gin/{name}"], bindings)
    (project / "config.gin").write_text(first.gin_text)
    again = open_experiment(["config.gin"])
    assert hashes(again) == hashes(first)
    # What gin looked up without a use for it (a schedule of the control) is gone after one round.
    (project / "config.gin").write_text(again.gin_text)
    assert open_experiment(["config.gin"]).gin_text == again.gin_text
    assert set(again.gin_text.splitlines()) <= set(first.gin_text.splitlines())


@pytest.mark.parametrize("name", METHODS)
def test_the_written_configuration_of_a_method_is_the_same_experiment(
    method: Make, name: str, tmp_path: Path
) -> None:
    """With the references to its stages, masks and losses, scoped ones too."""
    first = method(name, "depth/Member.hints = ('hidden2', 'hidden1')", "rgb/MLP.hidden = (9, 4)")
    (tmp_path / "config.gin").write_text(first.gin_text)
    again = open_experiment([tmp_path / "config.gin"])
    assert hashes(again) == hashes(first)
    assert again.gin_text == first.gin_text


@pytest.mark.parametrize(
    "text",
    [
        TWO + "graph.audio = @audio/Member()\nEPOCHS = 7\nCI.epochs = %EPOCHS\n",
        TWO.replace("target = 'rgb'", "target = ('rgb', 'depth')") + "graph.alone = False\n",
        TWO.replace("graph.gate = @Gate", "graph.gate = None") + "\n"
        "depth/STA.optimizer = @SGD\ndepth/SGD.momentum = 0.5\ndata.split = '4'\n",
        "graph.target = 'rgb'\ngraph.rgb = @rgb/Member()\ngraph.depth = @depth/Member()\n"
        "depth/Member.loss = @KL()\ndepth/KL.temperature = 3.0\ndepth/MLP.hidden = (9,)\n",
    ],
)
def test_the_written_configuration_of_other_graphs(
    experiment: Make, text: str, tmp_path: Path
) -> None:
    """Macros, several targets, dropped members, other optimisers, scoped losses."""
    first = experiment(text, "graph.audio = None")
    (tmp_path / "config.gin").write_text(first.gin_text)
    again = open_experiment([tmp_path / "config.gin"])
    assert hashes(again) == hashes(first)
    assert again.gin_text == first.gin_text


def test_a_normalisation_of_some_modalities_is_checked_and_counts(experiment: Make) -> None:
    """By the modality's name and the kind's."""
    one = experiment(TWO, "data.normalisation = {'depth': 'minmax'}")
    assert changed(experiment(), one) == set(one.plan.stages)
    for text, told in {
        "{'dept': 'minmax'}": "names the modality 'dept', which the store does not have; did you",
        "{'depth': 'maxmin'}": "data.normalisation of 'depth' is 'maxmin'; did you mean 'minmax'",
        "{'depth': 'imagenet'}": "of 'depth' is 'imagenet', expected pictures of three channels",
    }.items():
        with pytest.raises(UserError, match=told):
            experiment(TWO, f"data.normalisation = {text}")


def test_integers_have_no_normalisation(tmp_path: Path) -> None:
    """To say one of them is a mistake; one for all leaves them out."""
    (tmp_path / "graph.gin").write_text(
        f"include '{captions(tmp_path)}'\ngraph.target = 'picture'\nMember.network = @Conv2d\n"
        "graph.picture = @picture/Member()\ngraph.sketch = @sketch/Member()\n"
    )
    open_experiment([tmp_path / "graph.gin"], ["data.normalisation = 'minmax'"])
    with pytest.raises(UserError, match="of 'text' is 'minmax', but it holds integers"):
        open_experiment([tmp_path / "graph.gin"], ["data.normalisation = {'text': 'minmax'}"])


def test_the_branches_of_a_fused_member_count(
    experiment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which networks they are, how they are built, and the files that they are written in."""
    text = TWO.replace("@FusedMLP", "@Fused").replace("('fusion', 'hidden1')", "('fusion',)")
    text += "fused/Fused.branches = @MLP\n"
    before = experiment(text)
    concerned = changed(before, experiment(text, "fused/MLP.hidden = (3,)"))
    assert "ci" in concerned
    assert changed(before, experiment(text, "fused/Fused.branches = (@MLP, @MLP)")) == concerned
    assert changed(before, experiment(text)) == set()
    digest = identity_module._source_digest
    monkeypatch.setattr(
        identity_module,
        "_source_digest",
        lambda made: "edited" if made.__name__ == "MLP" else digest(made),
    )
    edited = experiment(text).plan.stages["ci"].identity["parts"]["fused"]
    assert edited["sources"] == {"MLP": "edited"}


FROM_WEIGHTS = """
import gin
from mstgraph.networks.mlp import MLP


@gin.configurable
class FromWeights(MLP):
    def __init__(self, inputs, num_outputs, weights=""):
        super().__init__(inputs, num_outputs)
"""


@pytest.mark.parametrize("named", ["teacher", "~/teacher", "$PLACE/teacher", "~/teacher/a.bin"])
def test_weights_count_by_content_wherever_they_lie(
    named: str, write_gin: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder, however deep, below the home folder, or where a variable says."""
    for variable in ("HOME", "PLACE"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    weights = [tmp_path / "teacher/a.bin", tmp_path / "teacher/deep/b.bin"]
    weights[1].parent.mkdir(parents=True)
    for path in weights:
        path.write_bytes(b"one")
    (tmp_path / "from_weights.py").write_text(FROM_WEIGHTS)
    text = f"import from_weights\n{TWO}\ndepth/Member.network = @FromWeights\n"
    path = write_gin(text + f"depth/FromWeights.weights = '{named}'\n")

    def found() -> str:
        return open_experiment([path]).plan.stages["ci"].hash

    before = found()
    assert found() == before
    changed_one = weights[0] if named.endswith(".bin") else weights[1]
    changed_one.write_bytes(b"other")
    assert found() != before
    changed_one.write_bytes(b"one")
    assert found() == before


def test_settings_of_training_count_once_they_are_set(experiment: Make) -> None:
    """At their defaults no hash knows of them; a rate of nothing is refused with its place."""
    plain = experiment()
    for binding in ("CI.clip = 1.0", "CI.accumulate = 2", "CI.rates = {'hidden1': 0.1}"):
        assert changed(plain, experiment(TWO, binding)), binding
    decaying = "CI.optimizer = @AdamW"
    some = experiment(TWO, decaying, "CI.decays = {'vectors': 0}")
    assert changed(experiment(TWO, decaying), some)
    for node in plain.plan.stages.values():
        assert not {"clip", "accumulate", "rates", "decays"} & node.identity["settings"].keys()
    same = experiment(TWO, "CI.clip = None", "CI.accumulate = 1", "CI.rates = {}")
    assert not changed(plain, same)
    # Where a stage is trained changes nothing, whatever it says.
    assert not changed(plain, experiment(TWO, "CI.resources = {'num_cpus': 2, 'big': 1}"))
    frozen = "Member.frozen = ('hidden1',)\n"
    for text, told in {
        frozen + "CI.rates = {'hidden1': 0.1}": "CI.rates names 'hidden1', in which stage ci",
        "CI.rates = {3: 0.1}": "CI.rates names 3, expected the path of a module in quotes",
        "CI.rates = {'hidden1': True}": "CI.rates of 'hidden1' is True, expected a share",
        "CI.decays = {'hidden1': -1}": "CI.decays of 'hidden1' is -1, expected a share such as",
        "CI.decays = {'hidden1': 0.1}": "CI.decays are shares of the weight decay of Adam, which",
        "CI.learning_rate = 1e999": "CI.learning_rate is inf, expected more than 0",
        "CI.rates = {'hiden1': 0.1}": "CI.rates names 'hiden1', in which stage ci trains",
        "CI.resources = {'gpu': -1}": "CI.resources has -1 of 'gpu', expected a number of at least",
        "CI.rates = {'hidden': 0}": "CI.rates of 'hidden' is 0, expected more; what never",
        "CI.accumulate = 0": "CI.accumulate is 0, expected at least 1",
        "CI.clip = 0.0": "CI.clip is 0.0, expected more than 0, or None",
    }.items():
        with pytest.raises(UserError, match=told):
            experiment(TWO, text)
