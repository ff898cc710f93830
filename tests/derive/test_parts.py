"""Networks, MaskNets and gates that a plan names: built, checked, and refused with their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tiny_graphs import DATA, ROLES, TWO

from mstgraph.derive.experiment import Experiment
from mstgraph.derive.opening import open_experiment
from mstgraph.stages.node import Part
from mstgraph.support.errors import UserError

Make = Callable[..., Experiment]

NETWORKS = """
import gin
import torch
from torch import nn


class Base(nn.Module):
    def __init__(self, inputs, num_outputs):
        super().__init__()
        self.hidden = nn.Linear(sum(shape[0] for shape in inputs.values()), 6)
        self.never = nn.Linear(6, 6)
        self.classifier = nn.Linear(6, num_outputs)

    def forward(self, x):
        return self.classifier(self.hidden(x))


@gin.configurable
class WrongClasses(Base):
    def __init__(self, inputs, num_outputs):
        super().__init__(inputs, num_outputs + 1)


@gin.configurable
class WrongOutput(Base):
    def forward(self, x):
        return {"logits": super().forward(x)}


@gin.configurable
class Crashes(Base):
    def __init__(self, inputs, num_outputs):
        raise KeyError("width")


@gin.configurable
class WrongForward(Base):
    def forward(self, x, y):
        return super().forward(x)


class Pair(nn.Module):
    def forward(self, x):
        return x, x


class Rounded(nn.Module):
    def forward(self, x):
        return x.long()


@gin.configurable
class OddLayers(Base):
    def __init__(self, inputs, num_outputs):
        super().__init__(inputs, num_outputs)
        self.pair, self.rounded = Pair(), Rounded()

    def forward(self, x):
        x = self.hidden(x)
        self.rounded(x)
        return self.classifier(self.hidden.bias + self.pair(x)[0])
"""


@pytest.fixture(scope="module", autouse=True)
def _networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put the networks above beside no gin file, but where gin's import finds them."""
    folder = tmp_path_factory.mktemp("networks")
    (folder / "odd_networks.py").write_text(NETWORKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


IMPORT = "import odd_networks\n"
READING = "graph.gate = None\nMember.loss = @RKD()\nfused/Member.loss = @FitNets()\n"
# binding → (the part of the text or binding whose place is named, the sentence)
REFUSED = {
    "fused/Member.masks = ('fusion', 'hiden1')": (
        "member 'fused': FusedMLP has no layer 'hiden1'; did you mean 'hidden1'?"
    ),
    "depth/Member.masks = ('hidden1', 'hidden9')": (
        "member 'depth': MLP has no layer 'hidden9'; did you mean "
    ),
    "MaskNet.hidden = 10\nMaskNet.heads = 3": (
        "mask point 'fusion' of member 'fused': MaskNet.hidden is 10, expected a multiple of its "
        "3 heads"
    ),
    "depth/MaskNet.heads = 5": "mask point 'hidden1' of member 'depth': a MaskNet on a feature of",
    "depth/MLP.hidden = (0,)": (
        "member 'depth': MLP.hidden holds 0, expected integers of at least 1"
    ),
    "fused/Member.network = @MLP": (
        "member 'fused': MLP takes exactly one modality, but its inputs are 'rgb', 'depth'"
    ),
    "depth/Member.network = @FuseNetBranch\ndepth/Member.masks = ()": (
        "member 'depth': FuseNetBranch takes maps, channels×height×width, but a sample of "
        "modality 'depth' is 6"
    ),
    "depth/Member.network = @KL\ndepth/Member.masks = ()": (
        "member 'depth': KL is no network, expected a torch module"
    ),
    "depth/Member.masks = ()\ndepth/Member.network = @WrongClasses": (
        "the network WrongClasses of member 'depth' answers with 4, expected 3 (outputs of the "
        "task, and size of the labels)"
    ),
    "depth/Member.masks = ()\ndepth/Member.network = @WrongOutput": (
        "member 'depth': WrongOutput returns a dict, expected one float tensor"
    ),
    "depth/Member.masks = ()\ndepth/Member.network = @Crashes": (
        "member 'depth': its network cannot be built: 'width'"
    ),
    "depth/Member.masks = ()\ndepth/Member.network = @WrongForward": (
        "member 'depth': WrongForward does not run on samples of 'depth' (6,): "
    ),
    "depth/Member.network = @OddLayers\ndepth/Member.masks = 'pair'": (
        "member 'depth': layer 'pair' of OddLayers returns a tuple, expected one float tensor"
    ),
    "depth/Member.network = @OddLayers\ndepth/Member.masks = 'rounded'": (
        "member 'depth': layer 'rounded' of OddLayers returns a tensor of torch.int64, expected a "
        "float one"
    ),
    "depth/Member.network = @OddLayers\ndepth/Member.masks = 'never'": (
        "member 'depth': layer 'never' of OddLayers cannot be masked: a forward pass calls it "
        "never, not once"
    ),
    f"{ROLES}{READING}depth/Member.penultimate = 'hiden2'": (
        "member 'depth': MLP has no layer 'hiden2'; did you mean 'hidden2'?"
    ),
    f"{ROLES}{READING}fused/Member.hints = ('fusion', 'hidden9')": (
        "member 'fused': FusedMLP has no layer 'hidden9'; did you mean "
    ),
    "Member.mask = @KL": (
        "mask point 'fusion' of member 'fused': KL is no network, expected a torch module"
    ),
    "depth/Member.mask = @MLP": (
        "mask point 'hidden1' of member 'depth': its masknet cannot be built: "
    ),
    "MLP.num_outputs = 7": "MLP.num_outputs follows from the data and the graph; remove it",
    "Gate.num_teachers = 7": "Gate.num_teachers follows from the data and the graph; remove it",
    "rgb/Gate.dense = True": "Gate.dense follows from the data and the graph; remove it",
}
# Where the line named is not the last one.
FIRST = {"MaskNet.hidden = 10\nMaskNet.heads = 3"}


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_built_is_refused_with_its_place(
    text: str, write_gin: Callable[..., Path]
) -> None:
    """File and line, member, layer, what was expected; before anything is trained."""
    base = IMPORT + TWO
    path = write_gin(base + text + "\n")
    line = len((DATA + base).splitlines()) + (1 if text in FIRST else text.count("\n") + 1)
    if text.startswith("depth/Member.network = @FuseNetBranch"):
        line -= 1  # the network is at fault, not the masks
    if text.startswith(("depth/Member.network = @KL", "depth/MLP", "depth/MaskNet")):
        line = 0
    with pytest.raises(UserError) as caught:
        open_experiment([path])
    message = str(caught.value)
    assert "\n" not in message
    if line:
        assert message.startswith(f"{path}:{line}: {REFUSED[text]}")
    else:
        assert REFUSED[text] in message
        assert message.startswith(f"{path}:")


def test_the_option_at_fault_is_named_by_its_own_line(write_gin: Callable[..., Path]) -> None:
    """Not by the member's declaration, if the message names the option."""
    path = write_gin(TWO + "\n\ndepth/MLP.hidden = (0,)\n")
    with pytest.raises(UserError) as caught:
        open_experiment([path])
    assert str(caught.value).startswith(f"{path}:{len((DATA + TWO).splitlines()) + 3}: ")


def test_weights_depend_on_the_seed_and_the_name_alone(experiment: Make) -> None:
    """The same member in another graph starts from the same weights; another seed from others."""
    rgb, part = Part("network", "rgb"), Part("masknet", "fused", "fusion", "rgb")
    first = experiment()
    torch.manual_seed(99)
    weights = first.parts.build(rgb, "cpu").state_dict()
    mask = first.parts.build(part, "cpu").state_dict()
    state = torch.random.get_rng_state()
    other = experiment(TWO, "graph.depth = None", "MLP.hidden = (6, 4)")
    again = other.parts.build(rgb, "cpu").state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert all(
        torch.equal(mask[k], v) for k, v in other.parts.build(part, "cpu").state_dict().items()
    )
    seeded = experiment(TWO, "graph.seed = 1").parts.build(rgb, "cpu").state_dict()
    assert not torch.equal(weights["hidden1.weight"], seeded["hidden1.weight"])
    twin = "graph.twin = @twin/Member()\ntwin/Member.inputs = 'rgb'\n"
    other = experiment(TWO + twin).parts.build(Part("network", "twin"), "cpu").state_dict()
    assert not torch.equal(weights["hidden1.weight"], other["hidden1.weight"])


def test_options_are_read_in_the_members_scope(experiment: Make) -> None:
    """A width in one member's scope leaves the others alone; so does a MaskNet's factor."""
    found = experiment(TWO, "depth/MLP.hidden = (9, 4)", "fused/MaskNet.factor = 1").parts
    assert found.build(Part("network", "depth"), "meta").hidden1.out_features == 9
    assert found.build(Part("network", "rgb"), "meta").hidden1.out_features == 6
    assert found.members["depth"].points == {"hidden1": (9,), "hidden2": (4,)}
    masknet = found.build(Part("masknet", "fused", "hidden1", "rgb"), "meta")
    assert masknet.attention.embed_dim == 6
    assert found.feature(Part("masknet", "fused", "fusion", "rgb")) == (8,)


def test_parameters_are_counted_without_memory(experiment: Make) -> None:
    """By hand: 8·6 + 6 + 6·4 + 4 + 4·3 + 3 for rgb; a linear gate 3 → 6 → 4."""
    found = experiment().parts
    assert found.members["rgb"].parameters == 8 * 6 + 6 + 6 * 4 + 4 + 4 * 3 + 3
    assert found.parameters(Part("network", "rgb")) == found.members["rgb"].parameters
    assert found.parameters(Part("gate", "", student="rgb")) == 3 * 6 + 6 + 6 * 4 + 4
    built = found.build(Part("network", "rgb"), "meta")
    assert all(parameter.is_meta for parameter in built.parameters())


METHOD = """
graph.gate = None
graph.points = 'none'
Member.loss = @FitNets()
"""


def test_an_adapter_fits_both_ends_of_its_edge(experiment: Make) -> None:
    """A regressor from each hint of the student to the teacher's in the same place, by hand."""
    found = experiment(TWO + ROLES + METHOD, "fused/Member.hints = ('fusion', 'hidden1')")
    adapter = found.plan.stages["hint-rgb"].parts["adapter.rgb.fused"]
    built = found.parts.build(adapter, "cpu")
    # rgb: hidden 6 and 4; fused: fusion 4 + 4, hidden1 6.
    assert found.parts.parameters(adapter) == (6 * 8 + 8) + (4 * 6 + 6)
    with torch.no_grad():
        first, second = built((torch.zeros(2, 6), torch.zeros(2, 4)))
    assert (first.shape, second.shape) == ((2, 8), (2, 6))
    # Of a loss that reads the student alone, the teacher's layers count for nothing.
    ofa = experiment(TWO + ROLES + METHOD, "Member.loss = @OFA()").parts
    seen = ofa._edge_shapes(Part("adapter", "fused", "", "rgb"))
    assert (seen.student, seen.teacher) == ({"hints": ((6,), (4,))}, {})
    assert seen.samples == 12, "60 % of 20 samples train"


def test_an_adapter_that_cannot_be_built_names_the_loss(write_gin: Callable[..., Path]) -> None:
    """One sentence with the place of ``Member.loss`` and the member whose edge it is."""
    text = TWO + ROLES + METHOD
    path = write_gin(text + "fused/Member.hints = ('fusion',)\n")
    with pytest.raises(UserError) as caught:
        open_experiment([path])
    line = (DATA + text).splitlines().index("Member.loss = @FitNets()") + 1
    assert str(caught.value) == (
        f"{path}:{line}: member 'fused': FitNets pairs the hint layers of teacher and student, "
        "which have 1 and 2, expected as many of one as of the other and at least 1"
    )


def test_weights_of_an_adapter_depend_on_the_seed_and_the_name_alone(experiment: Make) -> None:
    """Other teachers that come and go leave an adapter as it is."""
    part = Part("adapter", "fused", "", "rgb")
    text = TWO + ROLES + METHOD.replace("FitNets", "CRD")
    states = [
        experiment(text, *bindings).parts.build(part, "cpu").state_dict()
        for bindings in ((), ("graph.teachers = 'multimodal'",), ("graph.seed = 5",))
    ]
    assert {"memories", "labels", "constants"} < set(states[0])
    assert torch.equal(states[0]["memories"], states[1]["memories"])
    assert torch.equal(states[0]["teacher.weight"], states[1]["teacher.weight"])
    assert not torch.equal(states[0]["memories"], states[2]["memories"])


def test_roles_are_asked_of_a_network_where_a_loss_reads_them(
    write_gin: Callable[..., Path],
) -> None:
    """A data set's file names layers for all; a user's network need not have what nobody reads."""
    text = IMPORT + TWO + ROLES + "depth/Member.network = @OddLayers\n"
    path = write_gin(text + "depth/Member.masks = 'hidden'\n")
    assert open_experiment([path]).parts.members["depth"].points == {"hidden": (6,)}
    with pytest.raises(UserError) as caught:
        open_experiment([path], ["graph.gate = None", "depth/Member.loss = @RKD()"])
    line = (DATA + text).splitlines().index("Member.penultimate = 'hidden2'") + 1
    assert str(caught.value).startswith(
        f"{path}:{line}: member 'depth': OddLayers has no layer 'hidden2'"
    )
    own = ["graph.gate = None", "depth/Member.loss = @RKD()", "depth/Member.penultimate = 'hidden'"]
    assert "hidden" in open_experiment([path], own).parts.members["depth"].points
