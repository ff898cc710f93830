"""What is checked before the first trial: names, both ends of ranges, every choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mstgraph.benchmark.plan.dag import OpenCell
from mstgraph.benchmark.plan.opening import describe_cell, open_cell
from mstgraph.declare.config_checks import unread_on_command_line
from mstgraph.derive.source import Prepare
from mstgraph.support.errors import UserError
from mstgraph.support.lookup import find_file
from mstgraph.tuning.search import Search
from mstgraph.tuning.space import Choice, Setting

_NOT_TUNED = {
    "graph.seed": "--seeds",
    "graph.alone": "nothing: the student alone is not trained here",
}
_SAME_DATA = ("data.split", "data.recipe", "data.store", "data.raw", "data.task", "graph.target")


def check_names(settings: Sequence[Setting], given: Sequence[str]) -> None:
    """Refuse what a search sets itself, what changes the data it judges by, and what is fixed.

    Raises:
        UserError: names it.
    """
    fixed = {_name(binding): f"command line '-p {binding}'" for binding in given}
    tuned = {_name(setting.name): setting.place for setting in settings}
    for name, place in {**fixed, **tuned}.items():
        if name in _NOT_TUNED:
            raise UserError(f"{place}: tune sets {name} itself; expected {_NOT_TUNED[name]}")
    for name, place in tuned.items():
        if name in _SAME_DATA:
            raise UserError(
                f"{place}: with another {name} a trial would be judged by other samples; expected "
                "a setting of how a student is trained"
            )
        if name in fixed:
            raise UserError(f"{place}: {fixed[name]} fixes {name}; expected one of the two")


def _name(binding: str) -> str:
    return binding.partition("=")[0].strip().removeprefix("mstgraph.")


def open_base(search: Search, prepare: Prepare | None, notice: Callable[[str], None]) -> OpenCell:
    """Open the experiment as its gin files have it; a missing store is built.

    Raises:
        UserError: it is at fault.
    """
    cell = search.cell(0, search.seeds[0], ())
    experiment = open_cell(cell, prepare, notice)
    for sentence in unread_on_command_line(experiment.configuration):
        notice(sentence)
    return describe_cell(cell, experiment)


def check_values(search: Search) -> dict[str, set[str]]:
    """Open the experiment with the ends of each range and with every choice.

    Returns:
        Setting → the stages that it changes, as the gin files have the others.

    Raises:
        UserError: one of them is at fault, or no stage depends on a setting.
    """
    changed: dict[str, set[str]] = {}
    for setting in search.settings:
        opened = [_opened(search, setting, value) for value in setting.values.probes]
        artefacts = [set(cell.artefacts.items()) for cell in opened]
        same = set.intersection(*artefacts)
        changed[setting.name] = {stage for found in artefacts for stage, _ in found - same}
        others = [other for other in search.settings if other is not setting]
        if any(isinstance(other.values, Choice) for other in others):
            continue  # it may matter with another choice than the gin files have
        if len({cell.result for cell in opened}) == 1:
            raise UserError(
                f"{setting.place}: nothing that '{opened[0].target}' learns from depends on "
                f"{setting.name}; expected a setting that its stages read"
            )
    return changed


def _opened(search: Search, setting: Setting, value: str) -> OpenCell:
    cell = search.cell(0, search.seeds[0], [(setting, value)])
    return describe_cell(cell, open_cell(cell))


def found_files(files: Sequence[Path | str]) -> tuple[str, ...]:
    """Return gin files as they are found from here.

    Raises:
        UserError: one is nowhere.
    """
    return tuple(str(find_file(file)) for file in files)
