"""The keeper computes each constant once, continues what a kill left, and mistakes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import training_worlds as small
from torch import Tensor

from mstgraph.run.execute import Execution
from mstgraph.run.keeper import Keeper
from mstgraph.run.kept import OnDisk
from mstgraph.stages.node import Trunk
from mstgraph.stages.stage import StageNode
from mstgraph.support.weights import weights_digest

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("workspace")

DISK = ("engine.memory_gigabytes = 0", "engine.disk_gigabytes = 1")
STAGE = "sta-zer-fou.hidden1"


def ready(*bindings: str, folder: str = "run") -> tuple[Execution, StageNode]:
    """A run in which CI is finished, and a stage whose turn it is."""
    experiment = small.mfeat(*bindings)
    execution = small.quiet(experiment, folder)
    if not Path(folder, "stages/ci/artefact.json").exists():
        execution.run_group(["ci"])
    return execution, experiment.plan.stages[STAGE]


def calls_of(keeper: Keeper) -> list[str]:
    """Names of members whose networks are called from now on, one entry per batch."""
    calls: list[str] = []
    for name in ("zer", "fou"):
        keeper.networks.modules[name].hidden1.register_forward_pre_hook(
            lambda _module, _inputs, name=name: calls.append(name)
        )
    return calls


def test_values_are_computed_once() -> None:
    """One pass in blocks of a batch; afterwards nothing is computed again."""
    execution, node = ready()
    keeper = execution.setting([node]).keeper
    calls = calls_of(keeper)
    kept = keeper.kept("train")
    blocks = -(-1200 // 128)
    assert sorted(calls) == sorted(["zer", "fou"] * blocks)
    assert keeper.kept("train") is kept
    assert len(calls) == 2 * blocks


def test_a_part_filled_value_on_disk_is_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a kill only the missing blocks are computed, and the values are the same."""
    execution, node = ready(*DISK)
    whole = execution.setting([node]).keeper
    values = {owner: k.read(torch.arange(1200)) for owner, k in whole.kept("train").items()}
    whole.release()

    written = []
    write = OnDisk.write

    def killed(self: OnDisk, block: int, first: int, given: Mapping[str, Tensor]) -> None:
        write(self, block, first, given)
        written.append(block)
        if block == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(OnDisk, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            execution.setting([node]).keeper.kept("train")
    stopped = execution  # and all that it holds, as a notebook does
    execution, node = ready(*DISK)
    assert execution is not stopped
    keeper = execution.setting([node]).keeper
    calls = calls_of(keeper)
    kept = keeper.kept("train")
    # Blocks 0 to 4 of both; of block 5 one value was written.
    assert len(calls) == 2 * 10 - len(written)
    for owner, value in values.items():
        read = kept[owner].read(torch.arange(1200))
        assert all(torch.equal(tensor, read[name]) for name, tensor in value.items())
    assert keeper.release() == 0


def filed(keeper: Keeper, part: str = "train") -> dict[str, str]:
    """Where each value of a part lies on disk."""
    kept = keeper.kept(part)
    names = {str(owner): value.folder.name for owner, value in kept.items()}
    keeper.release()
    return names


def test_one_bit_in_a_weight_is_another_key() -> None:
    """Of those values that the weight is under, and of no others."""
    execution, node = ready(*DISK)
    before = filed(execution.setting([node]).keeper)
    keeper = execution.setting([node]).keeper
    weight = keeper.networks.modules["fou"].hidden1.weight
    weight.data.view(torch.int32)[3, 3] ^= 1
    after = filed(keeper)
    assert len(before) == 2
    assert [name for name in before if before[name] != after[name]] == [str(Trunk("fou"))]


@pytest.mark.parametrize(
    "binding",
    [
        "data.normalisation = 'minmax'",
        "data.split = '1'",
        "data.batch_size = 64",
        "engine.cache_dtype = 'float16'",
        "engine.precision = 'bf16'",
    ],
)
def test_whatever_else_changes_a_value_is_another_key(binding: str) -> None:
    """Also where the weights are, by accident, the same."""
    execution, node = ready(*DISK)
    first = filed(execution.setting([node]).keeper)
    execution, node = ready(*DISK, binding)
    second = filed(execution.setting([node]).keeper)
    assert first
    assert not set(first.values()) & set(second.values())


def test_each_part_of_the_split_has_keys_of_its_own() -> None:
    """Samples of one part are never taken for those of another."""
    execution, node = ready(*DISK)
    keeper = execution.setting([node]).keeper
    assert not set(filed(keeper).values()) & set(filed(keeper, "validation").values())


def test_only_modalities_that_are_still_needed_are_fed() -> None:
    """What is kept needs no input; what is recomputed does."""
    execution, node = ready()
    assert execution.setting([node]).training.modalities == ()
    execution, node = ready("engine.cache = False")
    assert execution.setting([node]).training.modalities == ("fou", "zer")


def test_weights_digest() -> None:
    """Names, shapes, types and bits count; the order of names does not."""
    states: dict[str, Any] = {"a": torch.zeros(2, 3), "b": torch.tensor(5)}
    digest = weights_digest(states)
    assert digest == weights_digest(dict(reversed(states.items())))
    others = [
        {**states, "a": torch.zeros(3, 2)},
        {**states, "a": torch.zeros(2, 3, dtype=torch.int32)},
        {**states, "a": -torch.zeros(2, 3)},
        {"c": states["a"], "b": states["b"]},
    ]
    assert len({digest, *map(weights_digest, others)}) == 5
