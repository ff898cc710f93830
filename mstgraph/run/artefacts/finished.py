"""The experiment that a finished run holds, opened again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mstgraph.derive.experiment import Experiment
from mstgraph.derive.opening import open_experiment
from mstgraph.run.artefacts.forms import PlanDocument
from mstgraph.run.artefacts.run_folder import PLAN
from mstgraph.support.disk.descriptions import read_description
from mstgraph.support.errors import UserError


def open_finished(config: Path, code: bool | None, notice: Callable[[str], None]) -> Experiment:
    """Open the experiment that a finished run holds.

    A run's folder is code: unless told otherwise, this imports the modules that lie in it.

    Args:
        config: the configuration that the run left in its folder.
        code: whether modules of the run's folder may be imported; False refuses a run that needs
            them, None says which they are.
        notice: is told of them.

    Raises:
        UserError: there is no such file, or the run's store is gone.
    """
    folder = config.parent
    if not config.is_file():
        raise UserError(
            f"'{folder}' is no run: it has no {config.name}; expected the folder of a run"
        )
    known = _recorded_weights(folder / PLAN)
    experiment = open_experiment([config], finished=True, code=code is not False, known=known)
    if code is None and (modules := experiment.configuration.code.modules):
        notice(f"a run's folder is code: the networks of '{folder}' come from {', '.join(modules)}")
    return experiment


def _recorded_weights(plan: Path) -> dict[str, Any]:
    """Return member → what a run records of the weights it started from, and needs no more."""
    if not plan.is_file() or '"weights": {' not in plan.read_text(encoding="utf-8"):
        return {}
    members = read_description(plan, PlanDocument, "give the run's command again")["members"]
    return {member["name"]: member["weights"] for member in members if "weights" in member}
