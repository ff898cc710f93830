"""What makes no sense of a plan, its data, losses, stages or optimisers, refused with its place."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import get_args

import gin
import torch

from mstgraph.data.normalisation import OTHERS, Normalisation, has_imagenet_colours, kind_for
from mstgraph.declare.configuration import Configuration
from mstgraph.declare.settings import Data
from mstgraph.derive.parts import Parts
from mstgraph.derive.plan import Plan
from mstgraph.methods.loss import EdgeLoss, ResponseLoss
from mstgraph.stages.parameters import VECTORS, without_parameters
from mstgraph.stages.stage import StageNode
from mstgraph.store.recipe import Labels, Modality
from mstgraph.support.errors import UserError, in_words, nearest
from mstgraph.support.text import shape_in_words
from mstgraph.tasks.task import Task


def check_data(
    data: Data,
    configuration: Configuration,
    splits: Collection[str],
    modalities: Mapping[str, Modality],
    labels: Labels,
) -> None:
    """Refuse sizes and shares that are none, and what the store has not."""
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
    _check_normalisation(data, configuration, modalities)
    if data.sampler is not None and labels.task != "classification":
        raise UserError(
            f"{configuration.where('data', 'sampler')}: data.sampler is '{data.sampler}', but "
            f"labels for {labels.task} are not one class of each sample; expected None"
        )
    if data.augmentation is not None and (wrong := data.augmentation.problem(modalities)):
        kind = type(data.augmentation)
        place = configuration.where(kind, wrong[0])
        raise UserError(f"{place}: '{wrong[0]}' of the augmentation {kind.__name__} {wrong[1]}")
    share = data.labelled_per_batch
    if share is not None and not 0 < share < 1:
        raise UserError(
            f"{configuration.where('data', 'labelled_per_batch')}: data.labelled_per_batch is "
            f"{share}, expected a share between 0 and 1 such as 0.5, or None; labelled samples "
            "alone are a stage's samples = 'labelled'"
        )
    wanted = str(data.split)
    if splits and wanted not in splits:
        raise UserError(
            f"{configuration.where('data', 'split')}: the store '{data.store}' has no split "
            f"'{wanted}'{nearest(wanted, splits)}"
        )


def _check_normalisation(
    data: Data, configuration: Configuration, modalities: Mapping[str, Modality]
) -> None:
    place = f"{configuration.where('data', 'normalisation')}: data.normalisation"
    named = {} if isinstance(data.normalisation, str) else data.normalisation
    for modality, kind in named.items():
        if modality not in (*modalities, OTHERS):
            raise UserError(
                f"{place} names the modality '{modality}', which the store does not have"
                f"{nearest(str(modality), modalities)}"
            )
        if kind not in get_args(Normalisation):
            given = nearest(str(kind), get_args(Normalisation))
            raise UserError(f"{place} of '{modality}' is '{kind}'{given}")
        if modality != OTHERS and modalities[modality].integers and kind != "none":
            raise UserError(
                f"{place} of '{modality}' is '{kind}', but it holds integers, which are names and "
                "no amounts; leave it out"
            )
    for modality, spec in modalities.items():
        chosen = kind_for(modality, data.normalisation)
        if chosen == "imagenet" and not (spec.integers or has_imagenet_colours(spec)):
            raise UserError(
                f"{place} of '{modality}' is 'imagenet', expected pictures of three channels in "
                f"uint8 or from 0 to 1, but a sample is {shape_in_words(spec.shape)} {spec.dtype}; "
                "name the modalities that are, {'rgb': 'imagenet'}"
            )


def check_losses(plan: Plan, task: Task, configuration: Configuration) -> None:
    """A loss must have a meaning for the task, and for single samples where a gate routes them."""
    for node in plan.stages.values():
        for teacher in node.teachers:
            problem = _loss_problem(teacher.loss, task, gated=bool(node.gate))
            if problem:
                name = type(teacher.loss).__name__
                place = configuration.where("Member", "loss", teacher.member)
                raise UserError(f"{place}: the loss {name} of member '{teacher.member}' {problem}")


def _loss_problem(loss: EdgeLoss, task: Task, gated: bool) -> str:
    """Return what is wrong with a loss and what was expected; empty if it has a meaning."""
    if task.dense and not loss.dense:
        return (
            "compares samples that have one label each, but here every pixel has one; expected a "
            "loss for dense prediction, such as KL, FitNets or C2KD"
        )
    if loss.compares_classes and not task.exclusive_classes:
        return (
            f"compares exclusive classes, but the task '{task.kind}' has none; expected a loss "
            "for any task, such as KL, FitNets or RKD"
        )
    if gated and not isinstance(loss, ResponseLoss):
        return (
            "is not made of logits of single samples, so no gate can route it; expected "
            "graph.gate = None, or a loss such as KL"
        )
    return ""


def check_stages(plan: Plan, task: Task, configuration: Configuration) -> None:
    """Refuse settings of losses and stages that make no sense, or none for the task."""
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
        problem = node.settings.problem(node) or node.settings.unfit(task)
        if problem is not None:
            parameter, sentence = problem
            name = type(node.settings).__name__
            place = configuration.where(name, parameter, node.scope)
            raise UserError(f"{place}: {name}.{parameter} {sentence}")


LONGEST_NAME = 200  # bytes of a folder's or file's name, with room for an ending


def check_names(plan: Plan, configuration: Configuration) -> None:
    """Refuse names of stages and parts that no disk takes: they are folders and files."""
    for node in plan.stages.values():
        for name in (node.name, *node.parts):
            if len(name.encode()) > LONGEST_NAME:
                longest = max(plan.graph.members, key=len)
                raise UserError(
                    f"{configuration.where('graph', longest)}: the names of members and layers "
                    f"make '{name[:40]}…' of {len(name)} letters, expected at most {LONGEST_NAME}"
                )


def try_parts(plan: Plan, parts: Parts, configuration: Configuration) -> None:
    """Build the rest once, so that gin's operative configuration is complete and checked.

    The networks are built already, to be inspected.
    """
    for part in (part for node in plan.stages.values() for part in node.parts.values()):
        if part.kind != "network":
            parts.parameters(part)
    sharing = [n for n in plan.stages.values() if n.settings.rates or n.settings.decays]
    if sharing:
        _refuse_shares_of_nothing(sharing, plan, parts, configuration)
    for node in plan.stages.values():
        _refuse_nothing_to_train(node, parts, configuration)
        _try_optimizer(node, configuration)
        if node.settings.decays:
            _refuse_decay_of_none(node, configuration)


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


def _refuse_shares_of_nothing(
    nodes: Sequence[StageNode], plan: Plan, parts: Parts, configuration: Configuration
) -> None:
    """A path with a rate or decay of its own must lead to something that its stage trains."""
    trained = {name: node.parts[name] for node in nodes for name in node.trains}
    modules = {name: parts.build(part, "meta") for name, part in trained.items()}
    still = {n: plan.graph.members[n].frozen for n, p in trained.items() if p.kind == "network"}
    for node in nodes:
        paths = {"rates": node.settings.rates, "decays": {*node.settings.decays} - {VECTORS}}
        for setting, named in paths.items():
            for path in without_parameters(modules, named, still):
                name = type(node.settings).__name__
                place = configuration.where(name, setting, node.scope)
                known = [found for part in modules.values() for found, _ in part.named_modules()]
                raise UserError(
                    f"{place}: {name}.{setting} names '{path}', in which stage {node.name} trains "
                    f"nothing{nearest(path, [*modules, *filter(None, known)])}"
                )


def _refuse_decay_of_none(node: StageNode, configuration: Configuration) -> None:
    """Shares of a weight decay need one."""
    with gin.config_scope(node.scope or None):
        optimizer = node.settings.optimizer([torch.zeros(1, requires_grad=True)], lr=1.0)
    if not all(group.get("weight_decay") for group in optimizer.param_groups):
        name, kind = type(node.settings).__name__, type(optimizer).__name__
        place = configuration.where(name, "decays", node.scope)
        raise UserError(
            f"{place}: {name}.decays are shares of the weight decay of {kind}, which has none; "
            f"expected an optimiser that has, such as '{name}.optimizer = @AdamW'"
        )


CHECKED_LATE = ("fused", "foreach", "differentiable")
"""What torch's optimisers check after they took their parameters; all else they check before."""


def _try_optimizer(node: StageNode, configuration: Configuration) -> None:
    optimizer = node.settings.optimizer
    with gin.config_scope(node.scope or None):
        name = type(node.settings).__name__
        for given in ("params", "lr"):
            if place := configuration.exactly_where(optimizer, given, node.scope):
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
        except (Exception, SystemExit) as error:  # whatever an optimiser of the user's raises
            if early and str(error).startswith("optimizer got an empty parameter list"):
                return
            place = configuration.where(name, "optimizer", node.scope)
            raise UserError(
                f"{place}: the optimiser of stage {node.name} cannot be built: {in_words(error)}"
            ) from error
