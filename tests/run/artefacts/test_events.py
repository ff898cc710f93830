"""What TensorBoard shows of a finished stage, read back from its file."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import training_worlds as small
from tensorboardX.proto.event_pb2 import Event

from mstgraph.run.artefacts.events import confusions, distributions, last_masks, show_end
from mstgraph.run.artefacts.metrics_log import MetricsLog
from mstgraph.run.reporter import Silent
from mstgraph.stages.pretrain import Pretrain
from mstgraph.stages.sta import STA
from mstgraph.tasks.confusion import class_counts

LABELS, SAID = torch.tensor([0, 0, 1, 2, 2]), torch.tensor([0, 1, 1, 2, 0])


def read(folder: Path) -> dict[str, tuple[int, Any]]:
    """Return tag → (step, value), of the file's format: length, check, content, check."""
    (path,) = folder.glob("events.out.tfevents.*")
    content, found = path.read_bytes(), {}
    while content:
        length = int.from_bytes(content[:8], "little")
        event = Event.FromString(content[12 : 12 + length])
        found |= {value.tag: (event.step, value) for value in event.summary.value}
        content = content[16 + length :]
    return found


def test_a_gate_is_shown_by_teacher_and_a_mask_as_it_is() -> None:
    """Samples that take no part are left out, and so is what its mean says all of."""
    confidence = np.array([[0.1, 0.9], [0.3, 0.7], [0.2, 0.8], [np.nan, np.nan]])
    statistics = {
        "confidence": confidence,
        "share": (confidence > 0.5) * 1.0,
        "loss": confidence[:, 0],
    }
    mask = np.array([[0.25, 0.5], [0.5, 0.75]])
    found = distributions(["audio", "both.fusion"], {"audio": mask}, statistics)
    assert {tag: values.round(6).tolist() for tag, values in found.items()} == {
        "test/confidence/audio": [0.1, 0.3, 0.2],
        "test/confidence/both.fusion": [0.9, 0.7, 0.8],
        "test/loss": [0.1, 0.3, 0.2],
        "test/mask/audio": [0.25, 0.5, 0.5, 0.75],
    }


def test_confusions_are_of_what_has_one_class() -> None:
    """As counted by hand; neither maps, numbers, nor whole numbers of another meaning."""
    single = class_counts(SAID, LABELS, None, 3).numpy()
    maps = class_counts(SAID.view(1, 5), LABELS.view(1, 5), None, 3).numpy()
    other = np.array([[0, 0, 1, 0, 1, 0], [1, 1, 1, 0, 0, 1]])
    given = {"me": single, "maps": maps, "floats": single * 1.0, "other": other}
    found = confusions(given)
    assert list(found) == ["test/confusion/me"]
    np.testing.assert_array_equal(found["test/confusion/me"], [[1, 1, 0], [0, 1, 0], [1, 0, 1]])


def test_histograms_and_pictures_are_read_back(tmp_path: Path) -> None:
    """At the best epoch; a row of a confusion that is right alone is blue in its own place."""
    image = pytest.importorskip("PIL.Image")
    values = np.linspace(0.2, 0.4, 21)
    show_end(tmp_path, 7, {"gate": values, "far": values * 100}, {"taken": np.diag([5, 3])})
    found = read(tmp_path)
    assert {tag: step for tag, (step, _) in found.items()} == {"gate": 7, "far": 7, "taken": 7}
    gate, far = found["gate"][1].histo, found["far"][1].histo
    assert gate.num == sum(gate.bucket) == 21
    assert gate.sum == pytest.approx(values.sum())
    assert max(gate.bucket_limit) <= 1 < 40 <= max(far.bucket_limit) + 1e-9
    encoded = found["taken"][1].image.encoded_image_string
    picture = np.asarray(image.open(io.BytesIO(encoded)).convert("RGB")).astype(int)
    middle = picture[34 + 5, 34 + 5], picture[34 + 5, 34 + 45]
    assert middle[0][2] - middle[0][0] > 100
    assert middle[1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("classes", [2, 30, 100])
def test_a_picture_has_room_for_its_classes(classes: int, tmp_path: Path) -> None:
    """Numbers are left out where they would not be read."""
    pytest.importorskip("PIL")
    show_end(tmp_path, 1, {}, {"taken": np.eye(classes, dtype=int)})
    shown = read(tmp_path)["taken"][1].image
    assert 80 <= shown.width == shown.height <= 34 + 560


def test_nothing_to_show_leaves_no_file(tmp_path: Path) -> None:
    """Such as of a stage that was not tested."""
    show_end(tmp_path, 1, {}, {})
    assert [*tmp_path.iterdir()] == []


def test_a_stage_that_goes_on_begins_anew(tmp_path: Path) -> None:
    """What a killed attempt showed of its end goes; files of other hands stay."""
    show_end(tmp_path, 1, {"gate": np.arange(9.0)}, {})
    (tmp_path / "events.out.tfevents.1.other").touch()
    MetricsLog(tmp_path, Silent()).close()
    names = sorted(path.name for path in tmp_path.glob("events.*"))
    assert not any(".shown." in name for name in names)
    assert "events.out.tfevents.1.other" in names
    assert len(names) == 2


def test_the_stage_goes_on_where_it_is_read(tmp_path: Path) -> None:
    """TensorBoard reads files in the order of their names: that of the epochs first."""
    log = MetricsLog(tmp_path, Silent())
    log.epoch_done(small.world(Pretrain(), "pretrain").node, {"epoch": 1, "loss": 1.0})
    log.close()
    show_end(tmp_path, 1, {"gate": np.arange(9.0)}, {})
    names = sorted(path.name for path in tmp_path.glob("events.*"))
    assert [".shown." in name for name in names] == [False, True]


def test_masks_are_those_that_the_stage_trained() -> None:
    """Of the last test batch; a mask that is only passed, or keeps nothing, is not shown."""
    world = small.world(STA(), "sta")
    module: Any = SimpleNamespace(last_mask=torch.full((2, 3), 0.5))
    (name,) = world.node.trains
    found = last_masks(world.node, {name: module})
    assert list(found) == [world.node.teachers[0].name]
    np.testing.assert_array_equal(found[world.node.teachers[0].name], np.full((2, 3), 0.5))
    assert last_masks(replace(world.node, trains=()), {name: module}) == {}
    assert last_masks(world.node, {name: torch.nn.Identity()}) == {}
