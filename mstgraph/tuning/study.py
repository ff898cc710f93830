"""Trials by Optuna (https://optuna.org): what is tried next, what is given up, what there was.

They stand in a journal that every worker may write to, so that a search goes on where it was
stopped. Optuna is an extra, and imported here alone.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mstgraph.support.errors import UserError
from mstgraph.support.files import explained
from mstgraph.support.seeds import derive_seed
from mstgraph.tuning.space import Choice, Real, Setting, Whole

STAGES, VALUES, WHY = "stages", "values", "why"  # what is noted of a trial
PRUNED = "pruned after epoch "  # begins the reason of a trial that was given up
COMPARED = 5  # whole trials that must be there before one is given up


def library() -> Any:
    """Return Optuna, which says nothing but errors.

    Raises:
        UserError: it is not installed.
    """
    try:
        import optuna  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise UserError(
            "tune needs Optuna, which is not installed; expected pip install 'mstgraph[tune]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


class Study:
    """All trials of a search.

    Args:
        journal: the file that they stand in; it is made if it is missing.
        higher_is_better: which way the metric counts.
        warmup: epochs of a trial before it may be given up.

    Raises:
        UserError: Optuna is not installed, or the journal is damaged or, then or later, cannot be
            written.
    """

    def __init__(self, journal: Path, higher_is_better: bool, warmup: int = 0):
        self.optuna = library()
        with explained(journal):
            backend = self.optuna.storages.journal.JournalFileBackend(str(journal.resolve()))
        backend.append_logs = explained(journal)(backend.append_logs)
        try:
            self._study = self.optuna.create_study(
                study_name="tune",
                storage=self.optuna.storages.JournalStorage(backend),
                direction="maximize" if higher_is_better else "minimize",
                pruner=self.optuna.pruners.MedianPruner(COMPARED, n_warmup_steps=warmup),
                load_if_exists=True,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"'{journal}' is damaged: {error}; expected a journal of Optuna's: remove it, and "
                "the search begins anew with the stages that are there"
            ) from error

    def ask(self, settings: Sequence[Setting], seed: int) -> Any:
        """Return a new trial: a random one first, later what the earlier ones make likely.

        What is drawn depends on the seed, the trial's number and the trials before it, and so
        not on whether the search was stopped in between. Of finitely many combinations one that
        was not tried before is drawn, as long as there is one.
        """
        seeded = derive_seed(seed, "tune", self.begun) % 2**32
        space = {s.name: self._distribution(s) for s in settings}
        self._study.sampler = self._sampler(seeded)
        waiting = self.begun < len(self.trials)
        if not waiting and len(self.tried(settings)) < combinations(settings) < math.inf:
            self._study.enqueue_trial(self._untried(settings, space, seeded))
        return self.trial(self._study.ask(space).number)

    def tried(self, settings: Sequence[Setting]) -> set[tuple[Any, ...]]:
        """Return the combinations of values that trials have, in the order of the settings."""
        whole = [trial.params for trial in self.trials if len(trial.params) == len(settings)]
        return {tuple(params[setting.name] for setting in settings) for params in whole}

    @property
    def trials(self) -> list[Any]:
        """All trials so far, Optuna's frozen ones."""
        found: list[Any] = self._study.get_trials(deepcopy=False)
        return found

    def trial(self, number: int) -> Any:
        """Return a trial as it is now."""
        return self.trials[number]

    @property
    def under_way(self) -> list[Any]:
        """Trials that were begun and not ended."""
        return [trial for trial in self.trials if trial.state == self._state("RUNNING")]

    @property
    def begun(self) -> int:
        """How many trials were begun."""
        return sum(trial.state != self._state("WAITING") for trial in self.trials)

    @property
    def ended(self) -> int:
        """How many have ended, one way or another."""
        return sum(trial.state.is_finished() for trial in self.trials)

    def note(self, number: int, name: str, value: Any) -> None:
        """Note something of a trial that is under way, as plain data."""
        self._live(number).set_user_attr(name, value)

    def tell(self, number: int, value: float) -> None:
        """End a trial with what it came to."""
        self._study.tell(number, value)

    def give_up(self, number: int, why: str) -> None:
        """End a trial without a value: one that was pruned, or failed."""
        self.note(number, WHY, why)
        state = "PRUNED" if why.startswith(PRUNED) else "FAIL"
        self._study.tell(number, state=self._state(state))

    def is_hopeless(self, number: int, epoch: int, value: float) -> bool:
        """Note a trial's value after an epoch, and say whether it is to be given up.

        It is if its best value so far is worse than the median of the others at the same epoch.
        """
        trial = self._live(number)
        if epoch not in self.trial(number).intermediate_values:  # a resumed stage tells it again
            trial.report(value, epoch)
        hopeless: bool = trial.should_prune()
        return hopeless

    def value(self, trial: Any) -> float | None:
        """Return what a trial came to; None unless it was trained to its end."""
        value: float | None = trial.value if self.state(trial) == "done" else None
        return value

    def state(self, trial: Any) -> str:
        """Return ``"done"``, ``"pruned"``, ``"failed"`` or ``"under way"``."""
        words = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}
        return words.get(trial.state.name, "under way")

    def _untried(
        self, settings: Sequence[Setting], space: Mapping[str, Any], seed: int
    ) -> dict[str, Any]:
        """Return what the sampler draws if nobody has tried it, else what nobody has, by chance."""
        rehearsal = self.optuna.create_study(
            sampler=self._sampler(seed), direction=self._study.direction
        )
        rehearsal.add_trials(self.trials)
        params = rehearsal.ask(space).params
        drawn, tried = tuple(params[s.name] for s in settings), self.tried(settings)
        chance = random.Random(seed)
        while drawn in tried:
            drawn = tuple(chance.choice(_all_values(setting)) for setting in settings)
        return dict(zip((setting.name for setting in settings), drawn, strict=True))

    def _sampler(self, seed: int) -> Any:
        return self.optuna.samplers.TPESampler(seed=seed, constant_liar=True)

    def _live(self, number: int) -> Any:
        return self.optuna.trial.Trial(self._study, self.trial(number)._trial_id)

    def _state(self, name: str) -> Any:
        return self.optuna.trial.TrialState[name]

    def _distribution(self, setting: Setting) -> Any:
        made, values = self.optuna.distributions, setting.values
        if isinstance(values, Whole):
            return made.IntDistribution(values.low, values.high)
        if isinstance(values, Real):
            log = values.scale == "log"
            return made.FloatDistribution(values.low, values.high, log=log)
        return made.CategoricalDistribution(values.values)


def combinations(settings: Sequence[Setting]) -> float:
    """Return how many combinations of values there are."""
    return math.prod(setting.values.size for setting in settings)


def values_of(trial: Any, settings: Sequence[Setting]) -> Mapping[str, str]:
    """Return setting → value in a trial, as gin reads it."""
    found = {}
    for setting in settings:
        value = trial.params[setting.name]
        found[setting.name] = (
            setting.values.text(value) if isinstance(setting.values, Real) else str(value)
        )
    return found


def _all_values(setting: Setting) -> Sequence[int | str]:
    values = setting.values
    if isinstance(values, Choice):
        return values.values
    assert isinstance(values, Whole)
    return range(values.low, values.high + 1)
