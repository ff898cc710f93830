"""Augmented runs: what is not touched is kept, what is touched is kept for each of its views."""

from __future__ import annotations

import pytest
import torch
import training_worlds as small

from mstgraph.derive.document import plan_document

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("workspace")

NOISE = (
    "data.augmentation = @augmentation()",
    "augmentation.of = (@Jitter(),)",
    "Jitter.modalities = ('fou',)",
    "data.batch_size = 100",
    *(f"{stage}.epochs = 3" for stage in ("CI", "STA", "DKD")),
    "graph.alone = False",
    "graph.fused = None",
    "fou/Member.masks = ('hidden1',)",
)
VIEWS = (*NOISE, "augmentation.views = 2")
DISK = ("engine.memory_gigabytes = 0", "engine.disk_gigabytes = 1")
STAGE = "sta-zer-fou.hidden1"


def reasons(*bindings: str) -> dict[str, str]:
    """Return what `show` says of the constants of a stage in training."""
    experiment = small.mfeat(*bindings)
    document = plan_document(experiment, lambda node: (False, None), small.ROOT)
    stage = next(s for s in document["stages"] if s["name"] == STAGE)
    return {
        c["value"].partition(" before")[0]: f"{c['bytes']} {c['placement']}: {c['reason']}"
        for c in stage["constants"]
        if c["part"] == "train"
    }


def test_show_says_what_is_constant() -> None:
    """What no augmentation touches always is; what one does, over its views, for their bytes."""
    plain, noisy, views = reasons(*NOISE[3:]), reasons(*NOISE), reasons(*VIEWS)
    untouched = "48000 memory: computed once, read 3 times"
    assert plain["response of zer"] == noisy["response of zer"] == untouched
    assert views["response of zer"] == untouched
    touched = "activations of fou"
    size = int(plain[touched].split()[0])
    assert noisy[touched].endswith("recompute: the inputs are augmented, so it is not constant")
    assert views[touched] == f"{2 * size} memory: computed once for each of 2 views, read 3 times"
    few = reasons(*NOISE, "augmentation.views = 3")[touched]
    assert few.endswith("recompute: each of 3 views is read at most once")


@pytest.mark.parametrize("bindings", [NOISE, VIEWS, (*VIEWS, *DISK)])
def test_what_is_kept_is_what_would_be_computed(bindings: tuple[str, ...]) -> None:
    """With the cache and without it a run comes to the same bits."""
    small.run(small.mfeat(*bindings), "kept")
    small.run(small.mfeat(*bindings, "engine.cache = False"), "computed")
    small.assert_weights("kept", "computed")


def test_a_view_is_always_the_same() -> None:
    """Whatever batch and epoch it is in; a sample's views follow one another, all of them."""
    experiment = small.mfeat(*VIEWS)
    pool = small.quiet(experiment, "run").pool
    feed = pool.feed("train", ("fou",), experiment.data.augmentation)
    seen: list[dict[int, torch.Tensor]] = []
    for epoch in (1, 2, 3):
        order = feed.order(0, epoch)
        batches = feed.epoch(64 + epoch, order)
        seen.append({int(p): v for i, _, at in batches for p, v in zip(at, i["fou"], strict=True)})
    assert seen[0].keys() == seen[2].keys()
    assert seen[0].keys().isdisjoint(seen[1])
    assert seen[0].keys() | seen[1].keys() == set(range(2 * len(feed)))
    assert all(torch.equal(seen[0][place], seen[2][place]) for place in seen[0])
    first = int(next(iter(seen[0]))) % len(feed)
    one, other = ({**seen[0], **seen[1]}[place] for place in (first, first + len(feed)))
    assert not torch.equal(one, other)
    assert sorted(int(p) for p in feed.positions(order)) == list(range(len(feed)))
