"""The plan as plain data: keys that other programs rely on, and what they hold."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tiny_graphs import TWO

from mstgraph.derive.document import plan_document
from mstgraph.derive.experiment import Experiment

Make = Callable[..., Experiment]


def document(experiment: Experiment) -> dict:
    """Return the document of a plan nothing of which is done, as JSON gives it back."""
    return json.loads(json.dumps(plan_document(experiment, lambda node: (False, ""))))


def test_keys_are_stable(experiment: Make) -> None:
    """A key may be added here; none may go or change its name."""
    found = document(experiment())
    assert {
        "name", "seed", "data", "task", "targets", "modalities", "members", "edges", "teachers",
        "gates", "stages",
    } <= found.keys()  # fmt: skip
    assert {
        "title", "synthetic", "store", "prepared", "fingerprint", "split", "samples", "labelled",
    } <= found["data"].keys()  # fmt: skip
    assert {"kind", "outputs", "metrics", "primary"} <= found["task"].keys()
    assert {
        "index", "name", "role", "network", "inputs", "parameters", "output", "masks",
        "initialisation",
    } <= found["members"][0].keys()  # fmt: skip
    assert {"source", "target", "kind", "loss", "stage"} <= found["edges"][0].keys()
    assert {
        "j", "name", "member", "delta", "point", "loss", "feature", "masknet_parameters", "stage",
    } <= found["teachers"]["rgb"][0].keys()  # fmt: skip
    assert {"stage", "parameters"} <= found["gates"]["rgb"].keys()
    assert {
        "name", "kind", "epochs", "batch_size", "learning_rate", "trains", "freezes", "needs",
        "responses", "student", "hash", "done", "reason",
    } <= found["stages"][0].keys()  # fmt: skip


def test_what_the_papers_graph_holds(experiment: Make) -> None:
    """Roles, edges, teachers with δ(j), features and sizes, computed by hand."""
    found = document(experiment())
    roles = {member["name"]: member["role"] for member in found["members"]}
    assert roles == {
        "fused": "multimodal teacher",
        "rgb": "student",
        "depth": "auxiliary teacher",
    }
    edges = {(e["source"], e["target"], e["kind"], e["stage"]) for e in found["edges"]}
    assert edges == {
        ("fused", "rgb", "teaches", "dkd-rgb"),
        ("depth", "rgb", "teaches", "dkd-rgb"),
        ("fused", "rgb", "mutual", "ci"),
        ("fused", "depth", "mutual", "ci"),
        ("rgb", "depth", "mutual", "ci"),
    }
    first = found["teachers"]["rgb"][0]
    d, h = 8, 4  # the concatenation of 4 + 4; h = 2·⌊8 / (2·2)⌋
    assert first["feature"] == [d]
    assert first["masknet_parameters"] == h * d * (d + 1) + 4 * h * (h + 1) + h + 1
    assert [t["delta"] for t in found["teachers"]["rgb"]] == [0, 0, 2, 2]
    assert found["data"]["samples"] == {"train": 12, "validation": 4, "test": 4}
    stages = {stage["name"]: stage for stage in found["stages"]}
    assert stages["dkd-rgb"]["responses"]["fused.fusion"] == ["fused", "masknet.rgb.fused.fusion"]
    assert stages["ci"]["batch_size"] == 5


def test_graphs_of_other_kinds_have_a_document_too(experiment: Make) -> None:
    """Several targets; no gate; mutual edges alone; a peer that teaches nobody."""
    several = document(experiment(TWO.replace("target = 'rgb'", "target = ('rgb', 'depth')")))
    assert several["teachers"].keys() == {"rgb", "depth"} == several["gates"].keys()
    plain = document(experiment(TWO, "graph.gate = None", "fused/Member.masks = ()"))
    assert plain["gates"] == {}
    assert "feature" not in plain["teachers"]["rgb"][0]
    silent = [f"{name}/Member.teaches = ()" for name in ("depth", "fused")]
    mutual = document(experiment(TWO, *silent))
    assert mutual["teachers"] == {}
    assert {m["role"] for m in mutual["members"]} == {"student", "peer"}
    assert {e["kind"] for e in mutual["edges"]} == {"mutual"}


def test_an_unbuilt_store_is_said_to_be_unbuilt(experiment: Make) -> None:
    """Without a store the recipe says how many samples there will be; there is no fingerprint."""
    data = document(experiment(TWO, "data.store = 'nowhere'"))["data"]
    assert (data["prepared"], data["fingerprint"]) == (False, "")
    assert data["samples"] == {"train": 12, "validation": 4, "test": 4}


@pytest.mark.parametrize(
    ("labelled", "kept"), [("None", 12), ("0.25", 3), ("5", 5), ("500", 12), ("1.0", 12)]
)
def test_how_many_samples_have_a_label(experiment: Make, labelled: str, kept: int) -> None:
    """Of the training part as many as keep theirs; the other parts have all."""
    found = document(experiment(TWO, f"data.labelled = {labelled}"))["data"]
    assert found["labelled"] == {"train": kept, "validation": 4, "test": 4}
