"""What test samples came to, against counts by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mstgraph.certainty.counts import confusion
from mstgraph.certainty.samples import save_samples
from mstgraph.look.outcomes import changed, counts, routing_by_class, transfer
from mstgraph.look.records import Records
from mstgraph.run.artefacts import run_folder

LABELS = np.array([0, 0, 1, 1, 2, 2])
ALONE = np.array([0, 1, 1, 0, 2, 0])
DISTILLED = np.array([0, 0, 1, 1, 0, 0])
TEACHER = np.array([0, 0, 0, 1, 1, 2])
SHARE = np.array([[1, 0], [1, 0], [0, 1], [1, 0], [0.5, 0.5], [0, 1]], np.float32)


def one_hot(classes: np.ndarray) -> np.ndarray:
    """Return [samples, 3] int32."""
    return np.eye(3, dtype=np.int32)[classes]


def contributions(predicted: np.ndarray, labels: np.ndarray = LABELS) -> np.ndarray:
    """Return what samples of one label contribute."""
    hit = one_hot(labels) * (predicted == labels)[:, None]
    return np.concatenate([hit, one_hot(labels), one_hot(predicted)], 1)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """A run of six test samples, written by hand."""
    stages = {
        "pre": {"mate": contributions(TEACHER)},
        "last": {"me": contributions(DISTILLED)},
        "alone": {"me": contributions(ALONE)},
    }
    for name, found in stages.items():
        (tmp_path / "stages" / name).mkdir(parents=True)
        statistics = {"share": SHARE} if name == "last" else {}
        save_samples(tmp_path / "stages" / name / "samples.npz", found, None, statistics)
    plan = {
        "name": "hand",
        "seed": 0,
        "data": {"title": "by hand", "synthetic": "made up"},
        "task": {"outputs": 3},
        "targets": ["me"],
        "last": {"me": "last"},
        "alone": {"me": "alone"},
        "modalities": [],
        "members": [],
        "edges": [],
        "teachers": {},
        "gates": {},
        "stages": [
            {"name": name, "kind": name, "trains": list(found), "responses": dict.fromkeys(found)}
            for name, found in stages.items()
        ],
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    return Records(tmp_path)


def test_a_confusion_counts_what_is_taken_for_what(records: Records) -> None:
    """Rows are labels, columns predictions, as counted one by one."""
    found = counts(records, ("alone", "me"))
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (LABELS, ALONE), 1)
    np.testing.assert_array_equal(confusion(found), expected)


def test_a_stage_is_read_once_however_many_ask(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind of what it left: contributions, marks, statistics."""
    read, load = [], run_folder.load_samples
    monkeypatch.setattr(
        run_folder, "load_samples", lambda *place: (read.append(place), load(*place))[1]
    )
    for _ in range(2):
        transfer(records)
        changed(records, "me")
        routing_by_class(records, "me")
    assert len(read) == len(set(read)) == 3 + 3 + 1


def test_changed_samples_are_those_of_another_answer(records: Records) -> None:
    """Mended: wrong alone and right distilled; spoilt the other way round; no other."""
    found = changed(records, "me")
    right, alone = DISTILLED == LABELS, ALONE == LABELS
    assert set(found.mended) == set(np.flatnonzero(right & ~alone))
    assert set(found.spoilt) == set(np.flatnonzero(~right & alone))


def test_transfer_is_who_is_right_where_another_errs(records: Records) -> None:
    """Each pair against a loop; nobody is right on his own errors."""
    found = transfer(records)
    assert found.names == ["mate", "me alone", "me distilled"]
    right = [TEACHER == LABELS, ALONE == LABELS, DISTILLED == LABELS]
    for i, one in enumerate(right):
        for j, other in enumerate(right):
            assert found.told[i, j] == pytest.approx(one[~other].mean())
            assert found.agree[i, j] == pytest.approx((one == other).mean())
    np.testing.assert_allclose(found.accuracy, [r.mean() for r in right])


def test_routing_by_class_is_the_mean_over_its_samples(records: Records) -> None:
    """Class by class; the shares of a class sum to one."""
    found = routing_by_class(records, "me")
    expected = [SHARE[c == LABELS].mean(0) for c in range(3)]
    np.testing.assert_allclose(found, expected)


def test_a_map_counts_by_its_pixels(records: Records) -> None:
    """A sample of two classes weighs in each as many pixels as it has of it."""
    labelled = np.array([[3, 1, 0], [0, 3, 0]])
    found = np.concatenate([labelled, labelled, labelled], 1)
    path = records.path / "stages" / "last" / "samples.npz"
    save_samples(path, {"me": found}, None, {"share": np.array([[1, 0], [0, 1]], np.float32)})
    by_class = routing_by_class(records, "me")
    np.testing.assert_allclose(by_class[:2], [[1, 0], [0.25, 0.75]])
    assert np.isnan(by_class[2]).all()


def test_a_run_of_an_earlier_version_has_no_routing_by_class(records: Records) -> None:
    """Nothing is made up where nothing was kept."""
    path = records.path / "stages" / "last" / "samples.npz"
    save_samples(path, {"me": contributions(DISTILLED)})
    assert routing_by_class(records, "me") is None
