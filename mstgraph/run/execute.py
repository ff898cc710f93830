"""Run: go through a plan's stages, reuse what is finished, train the rest, leave the student."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from mstgraph.data.feed import Feed, Pool, Share, everything
from mstgraph.declare.presence import absences
from mstgraph.derive.document import constants_of, plan_document
from mstgraph.derive.experiment import Experiment
from mstgraph.derive.keeping.constants import cut_frozen, cut_networks, kept_in_words
from mstgraph.derive.keeping.passes import group_stages
from mstgraph.run.artefacts.checkpoint import CHECKPOINT, Checkpoints
from mstgraph.run.artefacts.events import confusions, distributions, last_masks, show_end
from mstgraph.run.artefacts.metrics_log import MetricsLog, read_records
from mstgraph.run.artefacts.modules import load_modules
from mstgraph.run.artefacts.run_folder import (
    CONFIG,
    METRICS,
    PLAN,
    SUMMARY,
    RunFolder,
    student_files,
)
from mstgraph.run.artefacts.student import student_description
from mstgraph.run.artefacts.summary import collect, summarise
from mstgraph.run.evaluation import Evaluation, evaluate
from mstgraph.run.failures import in_users_words
from mstgraph.run.keeper import Keeper
from mstgraph.run.networks import Networks
from mstgraph.run.processes.agreement import refuse_unshareable
from mstgraph.run.processes.sharing import SharedNetworks
from mstgraph.run.reporter import Listener, Reporter, Silent
from mstgraph.run.tracked import Tracked
from mstgraph.run.train import Setting, Training, train
from mstgraph.stages.stage import StageNode
from mstgraph.support.disk.descriptions import write_description
from mstgraph.support.disk.own_folder import KEPT, make_folder
from mstgraph.support.files import file_digest, write_atomically, write_text
from mstgraph.support.interrupt import Interrupt, Interrupted
from mstgraph.support.numerics import numerics
from mstgraph.support.peak import peak_memory, reset_peak
from mstgraph.support.processes.group import ALONE, Processes
from mstgraph.support.user_code import relative_path
from mstgraph.support.weights import save_weights
from mstgraph.tasks.task import Task


class Execution:
    """One run of an experiment in a folder.

    Args:
        experiment: what to run; its store is built.
        folder: where everything goes.
        device: where to compute.
        reporter: who is told.
        interrupt: who may ask to stop; default: signals alone.
        tests: whether stages are measured on the test split; if not, nothing of it is read, and
            the artefacts that are left say nothing of it.
        processes: who runs it together; all but the main one write and say nothing.
    """

    def __init__(
        self,
        experiment: Experiment,
        folder: RunFolder,
        device: torch.device,
        reporter: Reporter,
        interrupt: Interrupt | None = None,
        tests: bool = True,
        processes: Processes = ALONE,
    ):
        assert experiment.source.store is not None
        self.experiment = experiment
        self.folder = folder
        self.device = device
        tracker = experiment.engine.tracker
        self.processes = processes
        reporter = reporter if processes.main else Silent()
        self.watched = Tracked(reporter, tracker) if tracker and processes.main else None
        self.reporter = self.watched or reporter
        self.interrupt = interrupt or Interrupt(processes.ended, processes.any)
        self.tests = tests
        self.pool = Pool(
            experiment.source.store,
            experiment.split,
            device,
            experiment.data.normalisation,
            self._memory_budget(),
            shuffle_block=experiment.data.shuffle_block,
            labelled=experiment.data.labelled,
            seed=experiment.plan.graph.seed,
            labelled_per_batch=experiment.data.labelled_per_batch,
            balanced=experiment.data.sampler is not None,
            absent=experiment.data.absent,
            absent_in=experiment.data.absent_in,
        )

    @cached_property
    def task(self) -> Task:
        """The task, with what it takes from the labels of the training split."""
        return self.experiment.task.fitted(self.pool.labels("train"))

    def run(self, elsewhere: Callable[[Execution], None] | None = None) -> dict[str, Any]:
        """Run every stage that is not finished yet, and return the summary.

        Args:
            elsewhere: finishes the stages in other processes, and calls `arrived` for each; None
                trains them here, one group after the other.

        Raises:
            Interrupted: on request; the same command continues.
            UserError: the folder cannot be written, or the disk is full.
            RunError: a stage failed.
        """
        stages = list(self.experiment.plan.stages.values())
        if self.processes.count > 1:
            refuse_unshareable(self.processes, stages, self.experiment.data.batch_size)
        with self._ready():
            if self.processes.main:
                self._begin(stages)
            (elsewhere or Execution._run_all)(self)
            with self.processes.main_first():
                return self._conclude() if self.processes.main else {}

    def _begin(self, stages: Sequence[StageNode]) -> None:
        """Make the folder this run's, and say what it starts from."""
        for node in stages:  # before what they replace is looked at
            self.folder.settle(node.name)
        self.folder.refuse_replaced([node.name for node in stages])
        self._remove_stale()
        self.folder.own.make(CONFIG, PLAN, SUMMARY, *self._students(), *self._modules())
        write_text(self.folder.path / CONFIG, self.experiment.gin_text)
        self._copy_modules()
        self._write_plan()
        if self.watched:
            self.watched.started(self.folder.path.name, self.experiment.gin_text)
        for name, shapes in self.experiment.parts.members.items():
            self.reporter.note(f"{name}: {shapes.network}, {shapes.initialisation}")
        if self.processes.count > 1:
            self.reporter.note(f"{self.processes.count} processes share every batch")

    def _run_all(self) -> None:
        for group in group_stages(list(self.experiment.plan.stages.values())):
            if self._run_group(group) and self.processes.main:
                self._write_plan()
            if self.interrupt.requested:
                raise Interrupted(group[-1].name)

    def arrived(self, node: StageNode, reused: bool) -> None:
        """Tell of a stage that somebody else has finished in this folder.

        Args:
            node: the stage.
            reused: whether it was there before, and is none of `unfinished`.

        Raises:
            UserError: what it left is damaged, or gone again.
        """
        if not reused:
            self.folder.settle(node.name)
            self.folder.refuse_damaged(node.name)
            if self.watched:
                for record in read_records(self.folder.stage(node.name) / METRICS):
                    self.watched.epoch_done(node, record)
            self._write_plan()
        self.reporter.stage_line(node.name, self.folder.finished(node.name), reused)

    def _students(self) -> list[str]:
        """Return the names of the files that students are left in."""
        return [name for t in self.experiment.plan.graph.targets for name in student_files(t)]

    def _modules(self) -> dict[str, Path]:
        """Return where in the folder a module of the user's goes → its file."""
        found = self.experiment.configuration.code.modules.items()
        files = {str(relative_path(name, file)): file for name, file in found}
        own = self.folder.path.resolve()
        return {to: file for to, file in files.items() if file.resolve() != own / to}

    def _copy_modules(self) -> None:
        """Put the user's modules beside config.gin, where they are found from any directory."""
        for name, file in self._modules().items():
            path = self.folder.path / name
            make_folder(self.folder.path, path.parent)
            write_atomically(path, partial(shutil.copyfile, file))

    def run_group(self, names: Sequence[str]) -> None:
        """Run some stages that go through the data together; what they need is finished.

        Args:
            names: of stages that `mstgraph.derive.keeping.passes.group_stages` puts into one group.

        Raises:
            Interrupted: on request; the same call continues.
            UserError: the folder cannot be written, or the disk is full.
            RunError: a stage failed.
        """
        with self._ready():
            self._run_group([self.experiment.plan.stages[name] for name in names])

    @contextmanager
    def _ready(self) -> Iterator[None]:
        """Hold the folder, listen for requests to stop, set the precision, enter gin's state.

        Raises:
            UserError: a module of the user's was edited after the experiment was loaded.
        """
        self.experiment.configuration.code.refuse_edited()
        precision = numerics(self.experiment.engine.precision, self.device)
        lock = self.folder.locked() if self.processes.main else nullcontext()
        with lock, self.interrupt, precision, self.experiment.entered():
            yield

    def _remove_stale(self) -> None:
        """Remove the student and summary of an earlier run in the folder, if this one differs."""
        whole = all(self.folder.state(node)[0] for node in self.experiment.plan.stages.values())
        current = {SUMMARY, *self._students()} if whole else set()
        left = [n for n in self.folder.own.made() if n == SUMMARY or n.startswith("student-")]
        self.folder.own.remove(set(left) - current)

    @cached_property
    def _document(self) -> dict[str, Any]:
        return plan_document(self.experiment, self.folder.state, self.folder.path)

    def _write_plan(self) -> None:
        """Write the plan, with what is done by now and the digests of what that left."""
        digests, stages = self.folder.digests(), []
        for stage in self._document["stages"]:
            name = stage["name"]
            done, reason = self.folder.state(self.experiment.plan.stages[name])
            left = {"artefact": digests[name]} if done and name in digests else {}
            stages.append({**stage, "done": done, "reason": reason, **left})
        write_description(self.folder.path / PLAN, {**self._document, "stages": stages})

    def _run_group(self, group: Sequence[StageNode]) -> bool:
        """Run some stages, and say whether any of them had to be trained."""
        names = self.processes.agreed(self.unfinished(group) if self.processes.main else [])
        trained = [node for node in group if node.name in names]
        if trained:
            self._train_group(trained)
        for node in group if self.processes.main else ():
            artefact = self.folder.finished(node.name)
            self.reporter.stage_line(node.name, artefact, reused=node not in trained)
        return bool(trained)

    def unfinished(self, stages: Sequence[StageNode]) -> list[str]:
        """Return the names of the stages that have to be trained, and say why.

        Raises:
            UserError: what another one left is damaged.
        """
        for node in stages:
            self.folder.settle(node.name)
        states = {node.name: self.folder.state(node) for node in stages}
        unfinished = [name for name, (done, _) in states.items() if not done]
        for name, (done, _) in states.items():
            if done:
                self.folder.refuse_damaged(name)
        for name in unfinished:
            if reason := states[name][1]:
                self.reporter.note(f"{name} is trained again: {reason}")
        return unfinished

    def _train_group(self, group: Sequence[StageNode]) -> None:
        with self.processes.main_first():
            begins, there = self.folder.begin, self.folder.under_way
            folders = [begins(n) if self.processes.main else there(n.name) for n in group]
        reset_peak(self.device)
        setting = self.setting(group)
        logs: list[MetricsLog] = []
        self.reporter.group_started(group, batches=setting.training.steps(setting.batch_size))
        try:
            if self.processes.main:
                logs += (MetricsLog(folder, self.reporter) for folder in folders)
            listeners: Sequence[Listener] = logs or [self.reporter] * len(group)
            trainings = [
                Training(node, setting, Checkpoints(folder / CHECKPOINT), listener)
                for node, folder, listener in zip(group, folders, listeners, strict=True)
            ]
            with in_users_words(group, setting.networks.modules):
                train(trainings)
        except Interrupted:
            self.processes.wait()  # until the main one has saved
            raise
        finally:
            self.reporter.group_ended()
            for log in logs:
                log.close()
        self.pool.remaining += setting.keeper.release()
        if self.processes.main:
            # Whatever else is there was left by a run that was killed and then changed.
            shutil.rmtree(self.folder.path / KEPT, ignore_errors=True)
        with in_users_words(group, setting.networks.modules):
            self._finish(trainings, setting)

    def setting(self, group: Sequence[StageNode]) -> Setting:
        """Make a group ready: its networks with their weights, what is kept, its data."""
        experiment, engine = self.experiment, self.experiment.engine
        modules = load_modules(experiment.parts, self.folder, group, self.device)
        cuts = cut_networks(experiment.parts, engine, group, modules)
        frozen = cut_frozen(experiment.parts, engine, group, modules)
        disk = self.processes.least(engine.disk_budget(self.folder.path))
        constants = constants_of(experiment, group, self.pool.remaining, disk)
        trained = frozenset(name for node in group for name in node.trains)
        stays = {name: member.frozen for name, member in experiment.plan.graph.members.items()}
        share = self._share(group)
        kind = Networks if share is everything else partial(SharedNetworks, self.processes)
        networks = kind(
            modules,
            experiment.inputs_of,
            trained,
            cuts,
            engine.precision,
            experiment.input_rules,
            stays,
            frozen,
        )
        batch_size = group[0].settings.batch_size or experiment.data.batch_size
        keeper = Keeper(
            networks=networks,
            decisions=constants.decisions,
            feed_for=partial(self.pool.feed, share=share),
            augmentation=experiment.data.augmentation,
            block_size=min(batch_size, experiment.source.length),
            halved=engine.halved,
            folder=self.folder.path / KEPT,
            key={
                "store": experiment.source.fingerprint,
                "split": experiment.split,
                "normalisation": experiment.data.normalisation,
                "precision": engine.precision,
                **absences(experiment.data, experiment.plan.graph.members),
                "code": [[n.identity.get(k) for k in ("parts", "calls", "code")] for n in group],
                "views": [experiment.plan.graph.seed, group[0].identity.get("augmentation")],
            },
            processes=self.processes,
            told=partial(self._keeping, group),
        )
        self.pool.remaining -= keeper.memory
        if kept := kept_in_words(constants):
            self.reporter.note(f"computed once for {', '.join(n.name for n in group)}: {kept}")
        return Setting(
            networks=networks,
            keeper=keeper,
            training=self._feed("train", group, keeper),
            validation=self._feed("validation", group, keeper),
            task=self.task,
            batch_size=batch_size,
            seed=experiment.plan.graph.seed,
            interrupt=self.interrupt,
            processes=self.processes,
        )

    def _keeping(self, group: Sequence[StageNode], sentence: str, done: int, total: int) -> None:
        self.reporter.keeping(sentence, done, total)
        if self.interrupt.requested:
            raise Interrupted(", ".join(node.name for node in group))

    def _feed(self, part: str, group: Sequence[StageNode], keeper: Keeper | None) -> Feed:
        """Return the feed of what the group's responses still have to see."""
        inputs_of = self.experiment.inputs_of
        asked = {n.name: n.forwards if part == "train" else n.settings.validated(n) for n in group}
        forwards = [node.forwards[name] for node in group for name in asked[node.name]]
        if keeper is None:
            wanted = {name for forward in forwards for name in inputs_of[forward.member]}
        else:
            wanted = keeper.modalities(part, forwards)
        modalities = [name for name in self.experiment.source.modalities if name in wanted]
        augmentation = self.experiment.data.augmentation if part == "train" else None
        return self.pool.feed(part, modalities, augmentation, self._share(group))

    def _share(self, group: Sequence[StageNode]) -> Share:
        """Return which rows of a group's batches this process reads.

        Stages that measure without gradients see a batch as a whole, in every process alike.
        """
        apart = self.processes.count > 1 and all(n.settings.learns_by_gradient for n in group)
        return self.processes.rows if apart else everything

    def _memory_budget(self) -> int:
        """Return the bytes that each process may take; those of one machine share its memory."""
        engine = self.experiment.engine
        budget = engine.memory_budget(self.device)
        shared = self.device.type != "cuda" and engine.memory_gigabytes is None
        return self.processes.least(budget // self.processes.beside if shared else budget)

    def _finish(self, trainings: Sequence[Training], setting: Setting) -> None:
        """Test the best epochs and write the artefacts."""
        results = self._tested(trainings, setting)
        peak = peak_memory(self.device)
        for training, test in zip(trainings, results, strict=True) if self.processes.main else ():
            state, node = training.state, training.node
            best = next(r for r in state.history if r["epoch"] == state.best_epoch)
            artefact = {
                "epochs": state.epoch - 1,
                "best_epoch": state.best_epoch,
                "validation": best["validation"],
                **({} if test is None else {"test": test.as_dict()}),
                "seconds": state.seconds,
                "peak_memory": peak,
                "device": str(self.device),
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
                "processes": self.processes.count,
            }
            modules = setting.networks.modules
            if test is not None:
                names = [teacher.name for teacher in node.teachers]
                shown = distributions(names, last_masks(node, modules), test.by_sample)
                place = self.folder.under_way(node.name)
                show_end(place, state.best_epoch, shown, confusions(test.contributions))
            self.folder.finish(
                node,
                modules,
                artefact,
                *(() if test is None else (test.contributions, test.marks, test.by_sample)),
            )
            training.checkpoints.remove()

    def _tested(
        self, trainings: Sequence[Training], setting: Setting
    ) -> Sequence[Evaluation | None]:
        """Measure each stage on the test split, or on nothing."""
        if not self.tests:
            return [None] * len(trainings)
        nodes = [training.node for training in trainings]
        return evaluate(
            nodes,
            setting.networks,
            self._feed("test", nodes, None),
            setting.task,
            setting.batch_size,
            kept={},
            by_sample=True,
        )

    def _conclude(self) -> dict[str, Any]:
        """Write the students and the summary."""
        plan = self.experiment.plan
        for target in plan.graph.targets:
            self._write_student(target)
        artefacts = {name: self.folder.finished(name) for name in plan.stages}
        known = collect(plan, self.folder.samples), collect(plan, self.folder.marks)
        summary = summarise(self.experiment, artefacts, *known, self.device)
        write_description(self.folder.path / SUMMARY, summary)
        if self.watched:
            self.watched.ended(summary)
        return summary

    def _write_student(self, target: str) -> None:
        """Write weights and description of a student, with digests of all that it is made of."""
        node = self.experiment.plan.stages[self.experiment.plan.last[target]]
        network = self.experiment.parts.build(node.parts[target], "cpu")
        self.folder.load(node.name, target, network)
        weights, description = student_files(target)
        digests = {weights: save_weights(self.folder.path / weights, network)}
        code = self.experiment.configuration.code.modules.items()
        for name in (CONFIG, *(str(relative_path(name, file)) for name, file in code)):
            digests[name] = file_digest(self.folder.path / name)
        described = student_description(self.experiment, target, self.pool)
        write_description(self.folder.path / description, {**described, "files": digests})
