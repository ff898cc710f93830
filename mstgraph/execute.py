"""Run: go through a plan's stages, reuse what is finished, train the rest, leave the student."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from mstgraph import memory
from mstgraph.checkpoint import Checkpoints, TrainingState
from mstgraph.document import plan_document
from mstgraph.errors import UserError
from mstgraph.evaluation import evaluate
from mstgraph.experiment import Experiment
from mstgraph.feed import Pool
from mstgraph.files import write_json, write_text
from mstgraph.interrupt import Interrupt, Interrupted
from mstgraph.metrics_log import MetricsLog
from mstgraph.plan import StageNode
from mstgraph.progress import ConsoleReporter
from mstgraph.run_folder import RunFolder, save_weights
from mstgraph.student import student_description
from mstgraph.summary import summarise
from mstgraph.train import Training, train


def choose_device(name: str) -> torch.device:
    """Return the device to run on; ``auto`` takes a GPU where there is one.

    Raises:
        UserError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device '{name}' is not to be had here; expected 'auto', 'cpu' or a GPU such as "
            "'cuda' that torch can see"
        ) from error
    return device


class Execution:
    """One run of an experiment in a folder.

    Args:
        experiment: what to run; its store is built.
        folder: where everything goes.
        device: where to compute.
        reporter: who is told.
    """

    def __init__(
        self,
        experiment: Experiment,
        folder: RunFolder,
        device: torch.device,
        reporter: ConsoleReporter,
    ):
        assert experiment.source.store is not None
        self.experiment = experiment
        self.folder = folder
        self.device = device
        self.reporter = reporter
        self.interrupt = Interrupt()
        store, data = experiment.source.store, experiment.data
        self.pool = Pool(store, experiment.split, device, data.normalisation)

    def run(self) -> dict[str, Any]:
        """Run every stage that is not finished yet, and return the summary.

        Raises:
            Interrupted: on request; the same command continues.
            UserError: the folder cannot be written, or the disk is full.
            RunError: a stage failed.
        """
        with self.folder.locked(), self.interrupt:
            write_text(self.folder.path / "config.gin", self.experiment.gin_text)
            self._write_plan()
            self._tell_initialisations()
            for node in self.experiment.plan.stages.values():
                self._run_stage(node)
                if self.interrupt.requested:
                    raise Interrupted(node.name)
            return self._conclude()

    def _write_plan(self) -> None:
        document = plan_document(self.experiment, self.folder.state)
        write_json(self.folder.path / "plan.json", document)

    def _tell_initialisations(self) -> None:
        for name, shapes in self.experiment.parts.members.items():
            self.reporter.note(f"{name}: {shapes.network}, {shapes.initialisation}")

    def _run_stage(self, node: StageNode) -> None:
        done, reason = self.folder.state(node)
        if not done:
            if reason:
                self.reporter.note(f"{node.name} is trained again: {reason}")
            self._train_stage(node)
        artefact = self.folder.artefact(node.name)
        assert artefact is not None
        self.reporter.stage_line(node.name, artefact, reused=done)

    def _train_stage(self, node: StageNode) -> None:
        folder = self.folder.begin(node)
        memory.reset_peak(self.device)
        modules = load_modules(self.experiment, self.folder, node, self.device)
        modalities = modalities_of(self.experiment, node)
        batch_size = node.settings.batch_size or self.experiment.data.batch_size
        feed = self.pool.feed("train", modalities)
        log = MetricsLog(folder, self.reporter)
        training = Training(
            node=node,
            modules=modules,
            inputs_of=self.experiment.inputs_of,
            task=self.experiment.task,
            training=feed,
            validation=self.pool.feed("validation", modalities),
            batch_size=batch_size,
            seed=self.experiment.plan.graph.seed,
            checkpoints=Checkpoints(folder / "checkpoint.pt"),
            reporter=log,
            interrupt=self.interrupt,
        )
        self.reporter.stage_started(node, batches=-(-len(feed) // batch_size))
        try:
            state = train(training)
        finally:
            self.reporter.stage_ended()
            log.close()
        result = self._result(node, modules, modalities, state, batch_size)
        self.folder.finish(node, modules, result)
        training.checkpoints.remove()

    def _result(
        self,
        node: StageNode,
        modules: Mapping[str, nn.Module],
        modalities: tuple[str, ...],
        state: TrainingState,
        batch_size: int,
    ) -> dict[str, Any]:
        test = evaluate(
            node,
            modules,
            self.experiment.inputs_of,
            self.pool.feed("test", modalities),
            self.experiment.task,
            batch_size,
        )
        return {
            "epochs": node.settings.epochs,
            "best_epoch": state.best_epoch,
            "validation": state.history[state.best_epoch - 1]["validation"],
            "test": test.as_dict(),
            "seconds": state.seconds,
            "peak_memory": memory.peak(self.device),
            "device": str(self.device),
        }

    def _conclude(self) -> dict[str, Any]:
        """Write the students and the summary."""
        plan = self.experiment.plan
        for target in plan.graph.targets:
            node = plan.stages[plan.last[target]]
            network = self.experiment.parts.build(node.parts[target], "cpu")
            self.folder.load(node.name, target, network)
            save_weights(self.folder.path / f"student-{target}.safetensors", network)
            description = student_description(self.experiment, target, self.pool)
            write_json(self.folder.path / f"student-{target}.json", description)
        self._write_plan()
        artefacts = {name: self.folder.artefact(name) for name in plan.stages}
        summary = summarise(self.experiment, artefacts, self.device)
        write_json(self.folder.path / "summary.json", summary)
        return summary


def load_modules(
    experiment: Experiment, folder: RunFolder, node: StageNode, device: torch.device
) -> dict[str, nn.Module]:
    """Build a stage's parts on a device, with the weights that earlier stages left in a folder."""
    modules = {}
    for name, part in node.parts.items():
        modules[name] = experiment.parts.build(part, "cpu")
        if name in node.sources:
            folder.load(node.sources[name], name, modules[name])
        modules[name].to(device)
    return modules


def modalities_of(experiment: Experiment, node: StageNode) -> tuple[str, ...]:
    """Return the modalities that a stage's responses need, in the store's order."""
    inputs_of = experiment.inputs_of
    used = {name for forward in node.forwards.values() for name in inputs_of[forward.member]}
    return tuple(name for name in experiment.source.modalities if name in used)
