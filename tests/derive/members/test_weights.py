"""What a network takes of a file, whatever prefix and head it has, and what is said of the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_graphs import Make
from torch import Tensor, nn

from mstgraph.declare.configuration import Configuration
from mstgraph.derive.members.weights import find_weights, fitting_weights
from mstgraph.stages.node import Part
from mstgraph.support.errors import UserError


def network(outputs: int = 3) -> nn.Module:
    """Return a trunk with batch normalisation, and a head."""
    trunk = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 6))
    return nn.Sequential(*{"trunk": trunk, "head": nn.Linear(6, outputs)}.values())


class Named(nn.Module):
    """A trunk and a head under names."""

    def __init__(self, outputs: int = 3, name: str = "trunk") -> None:
        super().__init__()
        self.add_module(name, network()[0])
        self.head = nn.Linear(6, outputs)


def save(states: Mapping[str, Tensor], path: Path) -> Path:
    """Write a state dict."""
    torch.save(dict(states), path)
    return path


def loaded(
    source: Mapping[str, Tensor], target: nn.Module, tmp_path: Path
) -> tuple[list[str], str]:
    """Load a file into a network; return what changed, and what is said."""
    path = save(source, tmp_path / "w.pt")
    before = {name: value.clone() for name, value in target.state_dict().items()}
    found = fitting_weights("w.pt", path, target)
    assert all(torch.equal(before[n], v) for n, v in target.state_dict().items()), "only looked at"
    found.load(target)
    after = target.state_dict()
    assert all(torch.equal(after[name], source[key]) for name, key in found.taken.items())
    assert {n for n in after if not torch.equal(after[n], before[n])} <= set(found.taken)
    return sorted(found.taken), found.in_words()


def test_all_of_it(tmp_path: Path) -> None:
    """The same architecture takes everything."""
    taken, said = loaded(Named().state_dict(), Named(), tmp_path)
    assert taken == sorted(Named().state_dict())
    assert said == f"all {len(taken)} tensors from 'w.pt'"


@pytest.mark.parametrize("prefix", ["module.", "model.backbone."])
def test_a_prefix_in_the_file_is_taken_off(prefix: str, tmp_path: Path) -> None:
    """As parallel training leaves it."""
    source = {prefix + name: value for name, value in Named().state_dict().items()}
    assert loaded(source, Named(), tmp_path)[0] == sorted(Named().state_dict())


def test_a_prefix_of_the_network_is_put_on(tmp_path: Path) -> None:
    """The file is of the backbone alone."""
    source = Named().trunk.state_dict()
    taken, said = loaded(source, Named(), tmp_path)
    assert taken == sorted(f"trunk.{name}" for name in source)
    assert said.endswith("; as initialised: head.weight, head.bias")


def test_another_head_is_told(tmp_path: Path) -> None:
    """Another number of classes: the trunk comes, the head stays, both sizes are said."""
    source = {f"module.{n}": v for n, v in Named(outputs=7).state_dict().items()}
    taken, said = loaded(source, Named(outputs=3), tmp_path)
    assert taken == sorted(n for n in Named().state_dict() if n.startswith("trunk."))
    assert (
        "as initialised: head.weight, head.bias; left in the file: module.head.weight (7×6, "
        in said
    )
    assert "the network has 3×6), module.head.bias (7, the network has 3)" in said


def test_counters_of_older_files_are_not_missed(tmp_path: Path) -> None:
    """Batch normalisation counts batches since torch 0.4.1 only; nothing reads it here."""
    source = {n: v for n, v in Named().state_dict().items() if "num_batches" not in n}
    assert loaded(source, Named(), tmp_path)[1].startswith("all ")


def test_nothing_that_fits_is_refused(tmp_path: Path) -> None:
    """Another architecture: both are shown."""
    path = save({"layer1.conv.weight": torch.zeros(3, 3, 1, 1)}, tmp_path / "w.pt")
    with pytest.raises(UserError) as caught:
        fitting_weights("w.pt", path, Named())
    assert str(caught.value) == (
        "nothing of the weights 'w.pt' fits the network Named: they hold layer1.conv.weight "
        "3×3×1×1; expected trunk.0.weight 5×4, trunk.0.bias 5, trunk.1.weight 5 and 8 more"
    )


def test_a_file_that_is_replaced_after_the_plan_is_refused(tmp_path: Path) -> None:
    """What is hashed is what is loaded."""
    path = save(Named().state_dict(), tmp_path / "w.pt")
    found = fitting_weights("w.pt", path, Named())
    save(Named(outputs=3).state_dict(), path)
    with pytest.raises(UserError, match=r"'w.pt' were replaced after this run was planned"):
        found.load(Named())
    path.unlink()
    with pytest.raises(UserError, match="are not there any more"):
        found.load(Named())


PAIR = """
graph.target = 'rgb'
graph.rgb = @rgb/Member()
graph.depth = @depth/Member()
"""
DEPTH = {"hidden1": (6, 6), "hidden2": (4, 6), "classifier": (3, 4)}


@pytest.fixture
def depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Weights of the member depth, in ``depth.pt`` of the working directory."""
    monkeypatch.chdir(tmp_path)
    states = {f"{n}.weight": torch.randn(shape) for n, shape in DEPTH.items()}
    states |= {f"{n}.bias": torch.randn(shape[0]) for n, shape in DEPTH.items()}
    save(states, tmp_path / "depth.pt")
    return states


def stages(made: object) -> dict[str, str]:
    """Return stage → hash."""
    return {name: node.hash for name, node in made.plan.stages.items()}  # type: ignore[attr-defined]


def test_hashed_by_content(experiment: Make, depth: dict[str, Tensor], tmp_path: Path) -> None:
    """Another name of the same file changes nothing, another bit all that follows from it."""
    lines = PAIR + "depth/Member.weights = '{}'\n"
    plain = stages(experiment(PAIR))
    given = stages(experiment(lines.format("depth.pt")))
    assert {name for name in plain if plain[name] != given[name]} == {
        "pretrain-depth",
        "distill-rgb",
    }
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/other.pt").write_bytes((tmp_path / "depth.pt").read_bytes())
    assert stages(experiment(lines.format("folder"))) == given
    depth["classifier.bias"][0] += 1
    save(depth, tmp_path / "depth.pt")
    assert stages(experiment(lines.format("depth.pt")))["pretrain-depth"] != given["pretrain-depth"]


def test_a_member_as_it_is_has_a_stage_that_trains_nothing(
    experiment: Make, depth: dict[str, Tensor]
) -> None:
    """It stands in place of the one that would train it, and is said to."""
    made = experiment(
        PAIR + "depth/Member.weights = 'depth.pt'\ndepth/Member.trained = False\n"
        "Member.mutual = 'all'\n"
    )
    node = made.plan.stages["given-depth"]
    assert (node.trains, node.takes, node.settings.epochs) == ((), ("depth",), 0)
    assert made.plan.stages["distill-rgb"].sources["depth"] == "given-depth"
    assert "pretrain-depth" not in made.plan.stages
    assert not made.plan.graph.mutual_components(), "to be aligned is to learn"
    assert made.parts.members["depth"].initialisation == "all 6 tensors from 'depth.pt'"


GIVEN = "depth/Member.weights = 'depth.pt'\n"
STILL = "depth/Member.trained = False\n"
REFUSED = {
    "no such file": (
        "depth/Member.weights = 'dept.pt'\n",
        "there are no weights 'dept.pt', expected a file, a folder or a finished run; did you mean "
        "'depth.pt'?",
    ),
    "an empty folder": (
        "depth/Member.weights = 'empty'\n",
        "the folder 'empty' is no run and holds not one file of weights but none; name the file",
    ),
    "another architecture": ("rgb/MLP.hidden = (9,)\nrgb/" + GIVEN[6:], "member 'rgb': nothing of"),
    "as it is, without weights": (
        STILL,
        "member 'depth' is not trained and has no weights, so it would answer at random; expected "
        "'depth/Member.weights = FILE', or that it is trained",
    ),
    "as it is, with half of them": (
        GIVEN + STILL + "depth/MLP.hidden = (6, 4, 5)\n",
        "member 'depth': it is not trained, but 'depth.pt' lacks hidden3.weight, hidden3.bias, "
        "classifier.weight of its network, which would stay random",
    ),
    "the target as it is": (
        "rgb/Member.trained = False\n",
        "member 'rgb' is not trained, but it is the target, which learns; name another member",
    ),
    "as it is, taught": (
        STILL + "graph.audio = @audio/Member()\naudio/Member.teaches = ('depth', 'rgb')\n",
        "member 'depth' is not trained, but 'audio' teaches it; let it teach alone",
    ),
    "as it is, aligned": (
        STILL + "rgb/Member.mutual = ('depth',)\n",
        "member 'rgb' is aligned with 'depth', but 'depth' is not trained, and to be aligned is to",
    ),
    "as it is, trained by its loss": (
        STILL + "depth/Member.loss = @C2KD()\nMember.penultimate = 'hidden2'\n",
        "member 'depth' is not trained, but its loss C2KD goes on training the teacher",
    ),
    "frozen, of which a part would stay random": (
        GIVEN + "depth/MLP.hidden = (6, 4, 5)\ndepth/Member.frozen = ('hidden2', 'hidden3')\n",
        "member 'depth': 'depth.pt' lacks hidden3.weight, which is frozen and would stay random; ",
    ),
    "frozen, not there": (
        "rgb/Member.frozen = ('hiden1',)\n",
        "member 'rgb': MLP has no layer 'hiden1'; did you mean 'hidden1'?",
    ),
    "all frozen": (
        "rgb/Member.frozen = ('hidden1', 'hidden2', 'classifier')\n",
        "all parameters of member 'rgb' are frozen, so there is nothing to train; expected fewer "
        "modules, or 'rgb/Member.trained = False'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_sense_is_refused(
    name: str, experiment: Make, depth: dict[str, Tensor], tmp_path: Path
) -> None:
    """In one sentence, with file and line, before anything is trained."""
    (tmp_path / "empty").mkdir()
    lines, sentence = REFUSED[name]
    with pytest.raises(UserError) as caught:
        experiment(PAIR + lines)
    assert sentence in str(caught.value)
    assert "graph.gin:" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_in_parts_are_one(
    experiment: Make, depth: dict[str, Tensor], tmp_path: Path
) -> None:
    """A folder as Hugging Face's libraries save it: all parts are read, and all are hashed."""
    folder = tmp_path / "parts"
    folder.mkdir()
    halves = {"a": [n for n in depth if "hidden" in n], "b": [n for n in depth if "class" in n]}
    for file, names in halves.items():
        save_file({n: depth[n] for n in names}, folder / f"{file}.safetensors")
    listed = {n: f"{file}.safetensors" for file, names in halves.items() for n in names}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": listed}))
    lines = PAIR + "depth/Member.weights = 'parts'\n"
    made = experiment(lines)
    assert made.parts.members["depth"].initialisation == "all 6 tensors from 'parts'"
    network = made.parts.build(Part("network", "depth"), "cpu")
    made.parts.start(Part("network", "depth"), network)
    assert torch.equal(network.state_dict()["classifier.weight"], depth["classifier.weight"])

    before = stages(made)["pretrain-depth"]
    save_file({n: depth[n] + 1 for n in halves["b"]}, folder / "b.safetensors")
    assert stages(experiment(lines))["pretrain-depth"] != before
    (folder / "b.safetensors").unlink()
    with pytest.raises(UserError, match=r"lack their part 'b.safetensors', expected it beside"):
        experiment(lines)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"weight_map": {}}', '{"weight_map": {"a": 3}}', '{"weight_map": 3}']
)
def test_a_list_of_parts_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    """In one sentence."""
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(text)
    with pytest.raises(UserError, match="cannot be read as a list of parts") as caught:
        fitting_weights("w", path, Named())
    assert "\n" not in str(caught.value)


def test_a_url_is_looked_up_where_torch_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query is no part of the file's name, as `torch.hub` sees it: it is fetched once."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_args, **_options: 1 / 0)
    (tmp_path / "checkpoints").mkdir()
    kept = save({"a": torch.ones(1)}, tmp_path / "checkpoints" / "vgg16.pth")
    url = "https://example.org/files/vgg16.pth?download=1"
    assert find_weights(url, ["m"], "", Configuration()) == kept
