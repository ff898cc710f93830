"""Trials in their journal: what is drawn, what is given up, what a second process sees."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from mstgraph.support.errors import UserError
from mstgraph.tuning.space import parse_settings
from mstgraph.tuning.study import PRUNED, Study, combinations, values_of

pytest.importorskip("optuna", reason="Optuna is not installed: pip install 'mstgraph[tune]'")
SETTINGS = parse_settings(("a = 1..3", "b = log(1, 100)", "c = choice(@KL(), @DIST())"))


def drawn(study: Study, count: int, came_to: float = 0.5) -> list[dict[str, str]]:
    """Ask for trials and end each."""
    values = []
    for _ in range(count):
        trial = study.ask(SETTINGS, 0)
        values.append(dict(values_of(trial, SETTINGS)))
        study.tell(trial.number, came_to)
    return values


def test_a_search_that_was_stopped_draws_what_it_would_have_drawn(tmp_path: Path) -> None:
    """From a seed, the number and the trials before; each value within its range."""
    whole = drawn(Study(tmp_path / "one", True), 4)
    first = drawn(Study(tmp_path / "two", True), 2)
    assert first + drawn(Study(tmp_path / "two", True), 2) == whole
    assert all(1 <= int(v["a"]) <= 3 and 1 <= float(v["b"]) <= 100 for v in whole)
    assert {v["c"] for v in whole} <= {"@KL()", "@DIST()"}
    assert len({v["b"] for v in whole}) == 4


@pytest.mark.parametrize("ended", [True, False])
def test_of_finitely_many_combinations_each_is_drawn_once(ended: bool, tmp_path: Path) -> None:
    """However many trials were asked for first, and whether they have ended; then again."""
    few = parse_settings(("a = 1..2", "c = choice(@KL(), @DIST())"))
    assert (combinations(few), combinations(SETTINGS)) == (4, float("inf"))
    tried = []
    for _ in range(5):
        study = Study(tmp_path / "journal", True)
        trial = study.ask(few, 0)
        tried.append(tuple(values_of(trial, few).items()))
        if ended:
            study.tell(trial.number, 0.5)
    assert len(set(tried[:4])) == len(study.tried(few)) == 4
    assert tried[4] in tried[:4]
    assert len(study.trials) == study.begun == 5


@pytest.mark.parametrize("higher", [True, False])
def test_a_trial_behind_the_median_of_others_is_hopeless(higher: bool, tmp_path: Path) -> None:
    """After as many epochs; not before there are others, nor in the first epochs."""
    sign = 1.0 if higher else -1.0
    asking, watching = Study(tmp_path / "journal", higher), Study(tmp_path / "journal", higher, 2)
    for value in (0.5, 0.6, 0.7, 0.8, 0.9):
        number = asking.ask(SETTINGS, 0).number
        assert not any(watching.is_hopeless(number, epoch, sign * value) for epoch in (1, 2))
        asking.tell(number, sign * value)
    ahead, behind = (asking.ask(SETTINGS, 0).number for _ in range(2))
    assert not watching.is_hopeless(behind, 1, sign * 0.1)
    assert watching.is_hopeless(behind, 2, sign * 0.1)
    assert watching.is_hopeless(behind, 2, sign * 0.1)  # a resumed stage tells it again
    assert not watching.is_hopeless(ahead, 2, sign * 0.8)


def test_how_a_trial_ended_is_known_to_whoever_opens_the_journal(tmp_path: Path) -> None:
    """Done, pruned or failed, with the reason."""
    study = Study(tmp_path / "journal", True)
    one, two, three, _ = (study.ask(SETTINGS, 0).number for _ in range(4))
    study.tell(one, 0.5)
    study.give_up(two, f"{PRUNED}3 of 9")
    study.give_up(three, "stage ci: a loss is nan")
    again = Study(tmp_path / "journal", True)
    states: list[Any] = [again.state(trial) for trial in again.trials]
    assert states == ["done", "pruned", "failed", "under way"]
    assert again.trial(three).user_attrs["why"] == "stage ci: a loss is nan"
    assert (again.begun, again.ended) == (4, 3)


def test_a_journal_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    """And says what to do."""
    (tmp_path / "journal").write_text("not a journal\n[]\n")
    with pytest.raises(UserError, match=r"journal' is damaged: .*; expected a journal of Optuna's"):
        Study(tmp_path / "journal", True)


def test_without_optuna_the_command_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an optional extra."""
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UserError, match=r"expected pip install 'mstgraph\[tune\]'"):
        Study(tmp_path / "journal", True)


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the journal, and what stands there stays."""
    tried = drawn(Study(tmp_path / "journal", True), 1)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("optuna.storages.journal.JournalFileBackend.append_logs", full)
        with pytest.raises(UserError, match=r"no space is left to write '.*journal'"):
            Study(tmp_path / "journal", True)
    (trial,) = Study(tmp_path / "journal", True).trials
    assert values_of(trial, SETTINGS) == tried[0]
