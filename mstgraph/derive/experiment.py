"""From gin files to a checked plan: configuration, store, graph, parts, identities.

Everything here is cheap: networks are built on the meta device, and of a store only its metadata
is read.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import gin

from mstgraph.declare.config_checks import refuse_unused_scoped_bindings
from mstgraph.declare.configuration import Configuration, find_file, find_folder
from mstgraph.declare.graph import declare
from mstgraph.declare.settings import Data, Engine
from mstgraph.derive.configurables import load
from mstgraph.derive.identity import identify
from mstgraph.derive.parts import Parts
from mstgraph.derive.plan import Plan
from mstgraph.derive.schedule import derive
from mstgraph.derive.task import choose_task
from mstgraph.methods.loss import EdgeLoss, ResponseLoss
from mstgraph.stages.stage import StageNode
from mstgraph.store.load import load_recipe, missing_raw, recipe_class
from mstgraph.store.reader import Store
from mstgraph.store.recipe import Labels, Modality
from mstgraph.store.splits import numbered_split
from mstgraph.support.errors import UserError, nearest
from mstgraph.support.files import file_digest
from mstgraph.tasks.task import Task

Notice = Callable[[str], None]


@dataclass(frozen=True)
class Source:
    """What is known of the data: from the store's metadata, or from the recipe if it is not built.

    Attributes:
        title: the data set's name.
        synthetic: what must be said wherever numbers appear; empty for real data.
        modalities: name → modality, in order.
        labels: what is to be predicted.
        length: number of samples.
        store: the store, or None if it is not built yet.
    """

    title: str
    synthetic: str
    modalities: Mapping[str, Modality]
    labels: Labels
    length: int
    store: Store | None

    def samples(self, split: str) -> dict[str, int]:
        """Return the number of samples of each part of a split.

        Of an official split nothing is known before the store is built: {}.
        """
        if self.store is not None:
            return dict(self.store.metadata["splits"][split])
        if not split.isdigit():
            return {}
        return {part: len(ids) for part, ids in numbered_split(self.length, int(split)).items()}

    @property
    def fingerprint(self) -> str:
        """The store's fingerprint; empty before it is built, so that no hash comes out equal."""
        return self.store.fingerprint if self.store else ""


@dataclass(frozen=True)
class Experiment:
    """A checked experiment, ready to be shown or run.

    Attributes:
        name: from the gin files' names, for the run's folder.
        configuration: the loaded gin files.
        gin_text: the operative configuration; as a gin file it gives the same experiment.
        data: the data's settings.
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
        return self.data.split_name(self.plan.graph.seed)

    @property
    def inputs_of(self) -> dict[str, tuple[str, ...]]:
        """Member → its modalities."""
        return {name: member.inputs for name, member in self.plan.graph.members.items()}

    def input_shapes(self, member: str) -> dict[str, tuple[int, ...]]:
        """Return modality → shape of a sample, for a member's modalities."""
        return self.parts.input_shapes(member)


Prepare = Callable[[Data, Path], Store]


def open_experiment(
    files: Sequence[Path | str],
    bindings: Sequence[str] = (),
    *,
    prepare: Prepare | None = None,
    notice: Notice = lambda sentence: None,
    finished: bool = False,
) -> Experiment:
    """Load gin files, find the data, and derive the plan.

    Args:
        files: gin files.
        bindings: bindings that win over them.
        prepare: builds a missing store (data settings, recipe file); None leaves it unbuilt and
            takes the recipe's word for what it will hold.
        notice: is told what the user should know, such as a stand-in for missing data.
        finished: whether this is a finished run, which needs its store and nothing beyond it:
            neither the recipe nor a demonstration in its place.

    Raises:
        UserError: the configuration or the graph is at fault.
    """
    if finished:
        configuration = load(files, bindings)
        data = _with_its_store(_data(configuration), configuration)
    else:
        files, configuration, data = _load_with_data(files, bindings, notice)
    source = _source(data, configuration, prepare, finished)
    with configuration.entered():
        return _derive("-".join(Path(file).stem for file in files), configuration, data, source)


def _derive(name: str, configuration: Configuration, data: Data, source: Source) -> Experiment:
    """Go from a configuration whose data is known to a checked plan."""
    task = choose_task(data, source.labels, configuration)
    graph = declare(configuration, source.modalities)
    _check_data(data, graph.seed, configuration, source)
    plan = derive(graph)
    _check_losses(plan, task, configuration)
    samples = source.samples(data.split_name(graph.seed)).get("train", source.length)
    parts = Parts(plan, source.modalities, task, configuration, samples)
    _check_stages(plan, configuration)
    engine = Engine()
    if wrong := engine.problem():
        option, words = wrong
        raise UserError(f"{configuration.where('engine', option)}: engine.{option} {words}")
    plan = identify(plan, parts, data, engine, source.fingerprint)
    _touch(plan, parts, configuration)
    refuse_unused_scoped_bindings(configuration, graph.members)
    return Experiment(
        name=name,
        configuration=configuration,
        gin_text=_operative(),
        data=data,
        engine=engine,
        source=source,
        task=task,
        plan=plan,
        parts=parts,
    )


def _data(configuration: Configuration) -> Data:
    with configuration.entered():
        return Data()


def _operative() -> str:
    """Return what was read of the configuration, without macros that only unread settings use."""
    text = gin.operative_config_str()
    macros = set(re.findall(r"^(\w+) = ", text, re.MULTILINE))
    idle = tuple(f"{name} = " for name in macros - set(re.findall(r"%(\w+)", text)))
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(idle))


def _load_with_data(
    files: Sequence[Path | str], bindings: Sequence[str], notice: Notice
) -> tuple[Sequence[Path | str], Configuration, Data]:
    """Load; without the data that the files ask for, put the demonstration profile on the first."""
    configuration = load(files, bindings)
    data = _data(configuration)
    if not data.store or not data.recipe:
        missing = "store" if not data.store else "recipe"
        place = configuration.where("data", missing)
        raise UserError(f"{place}: data.{missing} is missing; include a data set's gin file")
    if Path(data.store).exists():
        return files, configuration, data
    recipe = _named_file(data.recipe, "recipe", configuration)
    lacking = missing_raw(recipe, Path(data.raw) if data.raw else None)
    if lacking is None:
        return files, configuration, data
    asked = any(configuration.on_command_line("data", p) for p in ("store", "recipe", "raw"))
    begun = Path(f"{data.store}.partial").exists()
    if data.demonstration is None or asked or begun or data.raw:
        place = configuration.where("data", "raw" if data.raw else "store")
        state = "is only half prepared" if begun else "does not exist"
        raise UserError(f"{place}: the store '{data.store}' {state}, and {lacking}")
    profile = _named_file(data.demonstration, "demonstration", configuration)
    files = [files[0], profile, *files[1:]]  # what is given after the student's file wins
    configuration = load(files, bindings)
    shown = _data(configuration)
    stand_in_recipe = _named_file(shown.recipe, "recipe", configuration)
    notice(
        f"the store '{data.store}' is not prepared: {recipe_class(recipe).requires}, then "
        f"'mstgraph prepare {data.recipe} --raw FILE'; until then the same graph runs on "
        f"{recipe_class(stand_in_recipe).title.lower()} ('{data.demonstration}')"
    )
    return files, configuration, shown


def _with_its_store(data: Data, configuration: Configuration) -> Data:
    """Find a finished run's store from the working directory, or from above the run's folder."""
    store = find_folder(data.store, configuration)
    if store is None:
        raise UserError(
            f"{configuration.where('data', 'store')}: the store '{data.store}' of this run is not "
            "there any more; expected it in the working directory or above the run's folder"
        )
    return replace(data, store=str(store))


def _named_file(name: str, parameter: str, configuration: Configuration) -> Path:
    return find_file(name, configuration.where("data", parameter), configuration)


def _source(
    data: Data, configuration: Configuration, prepare: Prepare | None, finished: bool
) -> Source:
    path = Path(data.store)
    store = None
    if path.exists():
        store = Store(path)
        _check_options(data, store, configuration)
        if not finished:
            _check_recipe(data, store, configuration)
    elif prepare is not None:
        store = prepare(data, _named_file(data.recipe, "recipe", configuration))
    if store is not None:
        title, synthetic = store.metadata["title"], store.metadata["synthetic"]
        return Source(title, synthetic, store.modalities, store.labels_spec, store.length, store)
    raw = Path(data.raw) if data.raw else None
    path = _named_file(data.recipe, "recipe", configuration)
    recipe = load_recipe(path, raw, data.options)
    modalities = {modality.name: modality for modality in recipe.modalities()}
    return Source(recipe.title, recipe.synthetic, modalities, recipe.labels(), len(recipe), None)


def _check_options(data: Data, store: Store, configuration: Configuration) -> None:
    """A store prepared with other options is not the one that was asked for."""
    prepared: Mapping[str, Any] = store.metadata["recipe"]["options"]
    for name, value in data.options.items():
        if name not in prepared:
            raise UserError(
                f"{configuration.where('data', 'options')}: the store '{data.store}' was prepared "
                f"by a recipe without the option '{name}'{nearest(name, prepared)}"
            )
        wanted = list(value) if isinstance(value, tuple) else value
        if prepared[name] != wanted:
            raise UserError(
                f"{configuration.where('data', 'options')}: the store '{data.store}' was prepared "
                f"with {name} = {prepared[name]}, but {value} is asked for; remove it, or name "
                "another one in data.store"
            )


def _check_recipe(data: Data, store: Store, configuration: Configuration) -> None:
    """A store of another recipe, or of this one before it was edited, holds other data.

    Of a store that came without its recipe, or with one that is not here, there is nothing to say.
    """
    try:
        recipe = _named_file(data.recipe, "recipe", configuration)
    except UserError:
        return
    prepared = store.metadata["recipe"]
    if file_digest(recipe) == prepared["sha256"]:
        return
    same = recipe.name == prepared["file"]
    by = f"'{recipe}' before it was edited" if same else f"'{prepared['file']}', not by '{recipe}'"
    raise UserError(
        f"{configuration.where('data', 'recipe')}: the store '{data.store}' was prepared by {by}; "
        "expected its own recipe in data.recipe, another place in data.store, or that you remove "
        "it to have it prepared again"
    )


def _check_data(data: Data, seed: int, configuration: Configuration, source: Source) -> None:
    if data.batch_size < 1:
        raise UserError(
            f"{configuration.where('data', 'batch_size')}: data.batch_size is {data.batch_size}, "
            "expected at least 1"
        )
    if data.shuffle_block is not None and data.shuffle_block < 1:
        raise UserError(
            f"{configuration.where('data', 'shuffle_block')}: data.shuffle_block is "
            f"{data.shuffle_block}, expected at least 1, or None to shuffle all samples"
        )
    labelled = data.labelled
    if labelled is not None and not (
        0 < labelled <= 1 if isinstance(labelled, float) else labelled >= 1
    ):
        raise UserError(
            f"{configuration.where('data', 'labelled')}: data.labelled is {labelled}, expected a "
            "share such as 0.1, a number of samples such as 120, or None"
        )
    splits = source.store.metadata["splits"] if source.store else {}
    wanted = data.split_name(seed)
    if splits and wanted not in splits:
        raise UserError(
            f"{configuration.where('data', 'split')}: the store '{data.store}' has no split "
            f"'{wanted}'{nearest(wanted, splits)}"
        )


def _check_losses(plan: Plan, task: Task, configuration: Configuration) -> None:
    """A loss must have a meaning for the task, and for single samples where a gate routes them."""
    for node in plan.stages.values():
        for teacher in node.teachers:
            loss, name = teacher.loss, type(teacher.loss).__name__
            place = configuration.where("Member", "loss", teacher.member)
            what = f"{place}: the loss {name} of member '{teacher.member}'"
            if task.dense and not loss.dense:
                raise UserError(
                    f"{what} compares samples that have one label each, but here every pixel has "
                    "one; expected a loss for dense prediction, such as KL, FitNets or C2KD"
                )
            if loss.classes_only and not task.exclusive_classes:
                raise UserError(
                    f"{what} compares exclusive classes, but the task '{task.kind}' has none; "
                    "expected a loss for any task, such as KL, FitNets or RKD"
                )
            if node.gate and not isinstance(loss, ResponseLoss):
                raise UserError(
                    f"{what} is not made of logits of single samples, so no gate can route it; "
                    "expected graph.gate = None, or a loss such as KL"
                )


def _check_stages(plan: Plan, configuration: Configuration) -> None:
    losses = [(name, member.loss) for name, member in plan.graph.members.items()]
    for node in plan.stages.values():
        values = [getattr(node.settings, item.name) for item in fields(node.settings)]
        losses += [(node.scope, value) for value in values if isinstance(value, EdgeLoss)]
    for scope, loss in losses:
        if problem := loss.problem():
            name = type(loss).__name__
            place = configuration.where(name, problem[0], scope)
            raise UserError(f"{place}: {name}.{problem[0]} {problem[1]}")
    for node in plan.stages.values():
        problem = node.settings.problem(node)
        if problem is not None:
            parameter, sentence = problem
            name = type(node.settings).__name__
            place = configuration.where(name, parameter, node.scope)
            raise UserError(f"{place}: {name}.{parameter} {sentence}")


def _touch(plan: Plan, parts: Parts, configuration: Configuration) -> None:
    """Build the rest once, so that gin's operative configuration is complete and checked.

    The networks are built already, to be inspected.
    """
    for part in (part for node in plan.stages.values() for part in node.parts.values()):
        if part.kind != "network":
            parts.parameters(part)
    for node in plan.stages.values():
        _refuse_nothing_to_train(node, parts, configuration)
        _try_optimizer(node, configuration)


def _refuse_nothing_to_train(node: StageNode, parts: Parts, configuration: Configuration) -> None:
    """A mask that only measures needs a stage that measures; by gradient it learns nothing."""
    masks = [node.parts[name] for name in node.trains if node.parts[name].kind == "masknet"]
    if node.settings.learns_by_gradient and any(parts.parameters(mask) == 0 for mask in masks):
        name = type(node.settings).__name__
        place = configuration.where("Member", "mask", node.scope)
        raise UserError(
            f"{place}: stage {node.name} has nothing to train: what is inserted in member "
            f"'{node.scope}' has no parameters, expected a MaskNet, or another stage than {name} "
            "in graph.adaptation"
        )


CHECKED_LATE = ("fused", "foreach", "differentiable")
"""What torch's optimisers check after they took their parameters; all else they check before."""


def _try_optimizer(node: StageNode, configuration: Configuration) -> None:
    import torch

    optimizer = node.settings.optimizer
    with gin.config_scope(node.scope or None):
        name = type(node.settings).__name__
        for given in ("params", "lr"):
            place = configuration.exactly_where(optimizer, given, node.scope)
            if place is not None:
                raise UserError(
                    f"{place}: the stage gives {optimizer.__name__}.{given}; expected "
                    f"{name}.learning_rate in its place"
                )
        module = getattr(inspect.unwrap(optimizer), "__module__", None) or ""
        late = any(configuration.exactly_where(optimizer, o, node.scope) for o in CHECKED_LATE)
        # To take parameters, torch's own import its compiler; but their settings come first.
        early = module.startswith("torch.") and not late
        try:
            optimizer(
                [] if early else [torch.zeros(1, requires_grad=True)],
                lr=node.settings.learning_rate,
            )
        except Exception as error:  # whatever an optimiser of the user's raises
            if early and str(error).startswith("optimizer got an empty parameter list"):
                return
            place = configuration.where(name, "optimizer", node.scope)
            raise UserError(
                f"{place}: the optimiser of stage {node.name} cannot be built: "
                f"{str(error).splitlines()[0]}"
            ) from error
