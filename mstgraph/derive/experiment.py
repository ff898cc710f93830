"""A checked experiment: what is derived from gin files and data, for all who show or run it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from mstgraph.declare.configuration import Configuration
from mstgraph.declare.settings import Data, Engine
from mstgraph.derive.parts import Parts
from mstgraph.derive.plan import Plan
from mstgraph.derive.source import Source
from mstgraph.networks.presence import InputRule
from mstgraph.tasks.task import Task


@dataclass(frozen=True)
class Experiment:
    """A checked experiment, ready to be shown or run.

    Attributes:
        name: from the gin files' names, for the run's folder.
        configuration: the loaded gin files.
        gin_text: the operative configuration; as a gin file it gives the same experiment.
        data: the data's settings, its split resolved to a name.
        engine: the engine's settings.
        source: the data.
        task: the task.
        plan: the derived plan with hashes.
        parts: builds what the plan names.
    """

    name: str
    configuration: Configuration
    gin_text: str
    data: Data
    engine: Engine
    source: Source
    task: Task
    plan: Plan
    parts: Parts

    def entered(self) -> AbstractContextManager[None]:
        """Put this experiment's gin state in the place of gin's; see `Configuration.entered`."""
        return self.configuration.entered()

    @property
    def split(self) -> str:
        """Name of the split in the store."""
        return str(self.data.split)

    @property
    def inputs_of(self) -> dict[str, tuple[str, ...]]:
        """Member → its modalities."""
        return {name: member.inputs for name, member in self.plan.graph.members.items()}

    @property
    def input_rules(self) -> dict[str, InputRule]:
        """Member → what it does without an input."""
        return {
            name: InputRule(member.absent == "zeros", member.modality_dropout)
            for name, member in self.plan.graph.members.items()
        }

    def input_shapes(self, member: str) -> dict[str, tuple[int, ...]]:
        """Return modality → shape of a sample, for a member's modalities."""
        return self.parts.input_shapes(member)
