"""Seams: a stage, a gate and an edge loss of a user's own are one file and one gin block each."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from tiny_graphs import ROLES, SHORT, TWO

from mstgraph.cli import main
from mstgraph.derive.experiment import Experiment
from mstgraph.derive.opening import open_experiment
from mstgraph.support.errors import UserError

WriteGin = Callable[..., Path]

HEAD = """
import dataclasses
import gin
import torch
from torch import nn
from mstgraph.methods.loss import EdgeLoss
from mstgraph.stages.stage import Stage, Term
from mstgraph.stages.sta import STA
"""

STAGES = {
    "TogetherAlone": """
        @gin.configurable
        @dataclasses.dataclass(frozen=True)
        class TogetherAlone(Stage):
            '''In place of CI: all members learn the task together, none looks at another.'''

            kind = "together"
            place = "members"
            epochs: int = 2

            def losses(self, node, batch, epoch):
                return {"task": Term(batch.mean(self.validation_loss(node, batch)))}

            def validation_loss(self, node, batch):
                return torch.stack([batch.task_loss(name) for name in node.members]).sum(0)

            def reported(self, node):
                return node.members
        """,
    "Rephrase": """
        @gin.configurable
        @dataclasses.dataclass(frozen=True)
        class Rephrase(Stage):
            '''In place of STA, or after it: a MaskNet learns the task.'''

            kind = "rephrase"
            place = "mask"
            epochs: int = 2

            def losses(self, node, batch, epoch):
                return {"task": Term(batch.mean(self.validation_loss(node, batch)))}

            def validation_loss(self, node, batch):
                return batch.task_loss(node.teachers[0].name)

            def reported(self, node):
                return (node.teachers[0].name,)
        """,
    "Lottery": """
        @gin.configurable
        @dataclasses.dataclass(frozen=True)
        class Lottery(Stage):
            '''In place of DKD: each batch is taught by one teacher, drawn by lot.'''

            kind = "lottery"
            place = "student"
            epochs: int = 2

            def losses(self, node, batch, epoch):
                drawn = node.teachers[int(torch.randint(len(node.teachers), ()))]
                teacher, student = batch.response(drawn.name), batch.response(node.student)
                value = batch.divergence(drawn.loss, teacher, student)
                task = self.validation_loss(node, batch)
                return {"task": Term(batch.mean(task)), "drawn": Term(batch.mean(value))}

            def validation_loss(self, node, batch):
                return batch.task_loss(node.student)

            def reported(self, node):
                return (node.student,)

            def validated(self, node):
                return (node.student,)
        """,
    "Refine": """
        @gin.configurable
        @dataclasses.dataclass(frozen=True)
        class Refine(Stage):
            '''Between CI and STA: each member goes on by itself.'''

            kind = "refine"
            place = "member"
            epochs: int = 2

            def losses(self, node, batch, epoch):
                return {"task": Term(batch.mean(self.validation_loss(node, batch)))}

            def validation_loss(self, node, batch):
                return batch.task_loss(node.members[0])

            def reported(self, node):
                return node.members
        """,
}


def own(folder: Path, name: str, code: str, block: str) -> Path:
    """Write a user's module and the gin block that names it; return the gin file."""
    module = f"own_{name.lower()}"
    (folder / f"{module}.py").write_text(HEAD + textwrap.dedent(code))
    path = folder / f"{module}.gin"
    path.write_text(f"import {module}\n{textwrap.dedent(block)}")
    return path


def trained(files: tuple[Path, ...], out: Path) -> Experiment:
    """Run gin files by the command line, twice: the second time everything is reused."""
    given = [str(file) for file in files]
    options = [word for binding in SHORT for word in ("-p", binding)]
    command = ["run", *given, *options, "--device", "cpu", "--out", str(out)]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    before = {path: path.stat().st_mtime_ns for path in out.glob("stages/*/*.safetensors")}
    assert CliRunner().invoke(main, command).exit_code == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}
    summary = json.loads((out / "summary.json").read_text())
    experiment = open_experiment(files, SHORT)
    assert [stage["name"] for stage in summary["stages"]] == list(experiment.plan.stages)
    return experiment


def weights(out: Path, stage: str, part: str) -> dict[str, torch.Tensor]:
    """Return what a stage left for a part."""
    return load_file(out / f"stages/{stage}/{part}.safetensors")


def differ(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Say whether two states of a part are not the same."""
    return any(not torch.equal(one[name], other[name]) for name in one)


PLACES = {
    "TogetherAlone": ("graph.initialisation = @TogetherAlone", "together", "ci"),
    "Rephrase": ("graph.adaptation = @Rephrase", "rephrase-rgb-fused.fusion", "sta"),
    "Lottery": ("graph.distillation = @Lottery", "lottery-rgb", "dkd"),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_stage_takes_the_place_of_another(name: str, write_gin: WriteGin, tmp_path: Path) -> None:
    """CI, STA and DKD are defaults: a stage of one's own stands where each of them would."""
    block, stage, replaced = PLACES[name]
    files = (write_gin(TWO), own(tmp_path, name, STAGES[name], block))
    experiment = trained(files, tmp_path / "run")
    plan = experiment.plan
    assert stage in plan.stages
    assert not any(node.kind == replaced for node in plan.stages.values())
    for part in plan.stages[stage].trains:
        state = weights(tmp_path / "run", stage, part)
        initial = experiment.parts.build(plan.stages[stage].parts[part], "cpu").state_dict()
        assert differ(state, initial), "it has learned"
    assert plan.last["rgb"] == ("lottery-rgb" if name == "Lottery" else "dkd-rgb")


def test_a_stage_stands_between_two(write_gin: WriteGin, tmp_path: Path) -> None:
    """In a row each stage starts from what the one before left, and the next needs the last."""
    refine = own(tmp_path, "Refine", STAGES["Refine"], "graph.initialisation = (@CI, @Refine)")
    polish = own(tmp_path, "Rephrase", STAGES["Rephrase"], "graph.adaptation = (@STA, @Rephrase)")
    plan = trained((write_gin(TWO), refine, polish), tmp_path / "run").plan
    for member in ("fused", "depth", "rgb"):
        assert plan.stages[f"refine-{member}"].sources == {member: "ci"}
        out = tmp_path / "run"
        assert differ(weights(out, f"refine-{member}", member), weights(out, "ci", member))
    mask = "masknet.rgb.fused.fusion"
    assert plan.stages["sta-rgb-fused.fusion"].sources == {
        "rgb": "refine-rgb",
        "fused": "refine-fused",
    }
    assert plan.stages["rephrase-rgb-fused.fusion"].sources[mask] == "sta-rgb-fused.fusion"
    last = plan.stages["dkd-rgb"]
    assert last.sources[mask] == "rephrase-rgb-fused.fusion"
    assert last.sources["rgb"] == "refine-rgb"
    alone = plan.stages["alone-rgb"].settings.epochs
    assert alone == 2 + 2 + 2, "the student alone has the epochs of all three"


def test_students_can_go_through_several_last_stages(write_gin: WriteGin, tmp_path: Path) -> None:
    """The gate and the student of the second go on from the first."""
    lottery = own(tmp_path, "Lottery", STAGES["Lottery"], "graph.distillation = (@Lottery, @DKD)")
    plan = trained((write_gin(TWO), lottery), tmp_path / "run").plan
    assert plan.stages["dkd-rgb"].sources["rgb"] == "lottery-rgb"
    assert plan.last["rgb"] == "dkd-rgb"


def test_a_stage_out_of_place_is_refused(write_gin: WriteGin, tmp_path: Path) -> None:
    """Where a stage cannot stand, what could is named; so is a kind that two stages share."""
    cases = {
        "graph.adaptation = @Refine": "graph.adaptation is '@Refine', expected a stage that trains "
        "what is inserted at a mask point, such as '@STA'",
        "graph.initialisation = @DKD": "graph.initialisation is '@DKD', expected a stage that "
        "gives members their first weights, such as '@CI' or '@Pretrain'",
        "graph.distillation = @CI": "graph.distillation is '@CI', expected a stage that trains a "
        "student under its teachers, such as '@DKD' or '@Distill'",
        "graph.adaptation = (@STA, @Salience)": "graph.adaptation has two stages of the kind "
        "'sta', expected one",
        "graph.distillation = @DKD\ngraph.gate = None": "graph.distillation is '@DKD', which "
        "needs graph.gate, such as '@Gate'",
    }
    for block, sentence in cases.items():
        file = own(tmp_path, "Refine", STAGES["Refine"], block)
        with pytest.raises(UserError, match=f"own_refine.gin:2: {sentence[:20]}") as caught:
            open_experiment((write_gin(TWO), file))
        assert sentence in str(caught.value)


GATE = """
    @gin.configurable
    class Looking(nn.Module):
        '''Reads the student's penultimate layer beside its logits.'''

        reads = ("penultimate",)

        def __init__(self, num_outputs, num_teachers, dense, features):
            super().__init__()
            (shape,) = features["penultimate"]
            self.linear = nn.Linear(num_outputs + shape[0], num_teachers)

        def forward(self, logits, features):
            (penultimate,) = features["penultimate"]
            return self.linear(torch.cat([logits, penultimate], 1)).softmax(1)
    """


def test_a_gate_reads_a_layer(write_gin: WriteGin, tmp_path: Path) -> None:
    """Its weights on the layer learn, with and without what is kept; a role must be named."""
    gate = own(tmp_path, "Looking", GATE, "graph.gate = @Looking\nDKD.gate_weight = 1.0")
    files = (write_gin(TWO + ROLES), gate)
    experiment = trained(files, tmp_path / "run")
    node = experiment.plan.stages["dkd-rgb"]
    assert node.forwards["rgb"].taps == ("hidden2",)
    state = weights(tmp_path / "run", "dkd-rgb", "gate.rgb")
    initial = experiment.parts.build(node.parts["gate.rgb"], "cpu").state_dict()
    classes = experiment.task.num_outputs
    assert not torch.equal(
        state["linear.weight"][:, classes:], initial["linear.weight"][:, classes:]
    )
    with pytest.raises(UserError) as caught:
        open_experiment((write_gin(TWO), gate))
    assert "names no layer for the role 'penultimate'" in str(caught.value)
    assert "which the gate Looking reads" in str(caught.value)


LOSS = """
    @gin.configurable
    @dataclasses.dataclass(frozen=True)
    class Nearer(EdgeLoss):
        '''Means of two representations should agree.'''

        reads = ("{role}",)

        def edge(self, edge):
            teacher, student = edge.teacher.{role}, edge.student.{role}
            return (teacher.mean(1) - student.mean(1)).square()
    """


def test_a_loss_reads_the_representation(write_gin: WriteGin, tmp_path: Path) -> None:
    """The layer named for the role is read; without a name it is the penultimate one."""
    block = "graph.gate = None\ngraph.points = 'none'\nMember.loss = @Nearer()"
    loss = own(tmp_path, "Nearer", LOSS.format(role="representation"), block)
    named = "rgb/Member.representation = 'hidden1'\n"
    plan = trained((write_gin(TWO + ROLES + named), loss), tmp_path / "run").plan
    assert plan.stages["distill-rgb"].forwards["rgb"].taps == ("hidden1",)
    assert plan.stages["distill-rgb"].forwards["depth"].taps == ("hidden2",)


def test_a_misspelt_role_is_no_other_role(write_gin: WriteGin, tmp_path: Path) -> None:
    """It is refused with the nearest one, where the loss is named."""
    block = "graph.gate = None\ngraph.points = 'none'\nMember.loss = @Nearer()"
    loss = own(tmp_path, "Nearer", LOSS.format(role="penultimat"), block)
    with pytest.raises(UserError) as caught:
        open_experiment((write_gin(TWO + ROLES), loss))
    assert "own_nearer.gin:4" in str(caught.value)
    assert "reads the role 'penultimat'; did you mean 'penultimate'?" in str(caught.value)


def test_a_loss_of_responses_says_it_once(write_gin: WriteGin, tmp_path: Path) -> None:
    """With an edge of its own a gate would ask something else than Distill."""
    code = """
        from mstgraph.methods.loss import ResponseLoss

        @gin.configurable
        class Twice(ResponseLoss):
            def compare(self, task, teacher, student):
                return (teacher - student).square().mean(1)

            def edge(self, edge):
                return self.compare(edge.task, edge.teacher.logits, edge.student.logits) * 2
        """
    with pytest.raises(UserError, match="Twice says its loss in compare"):
        open_experiment((write_gin(TWO), own(tmp_path, "Twice", code, "")))


def test_a_misspelt_setting_of_the_graph_is_named(write_gin: WriteGin) -> None:
    """`graph.gaet` is taken for the gate, not for a member."""
    with pytest.raises(UserError, match=r"did you mean the setting 'graph\.gate'"):
        open_experiment([write_gin(TWO + "graph.gaet = @Gate\n")])
    with pytest.raises(UserError, match=r"did you mean the setting 'graph\.teachers'"):
        open_experiment([write_gin(TWO + "graph.teacher = 'multimodal'\n")])
