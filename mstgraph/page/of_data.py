"""What a page shows of a run's networks at work: needs the store, and the networks' code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from matplotlib.colors import to_hex

from mstgraph.look.features import flat
from mstgraph.look.masks import Masked, every_mask
from mstgraph.look.opened import Opened, spread
from mstgraph.look.outcomes import changed, counts
from mstgraph.look.pixels import confusion_of_maps
from mstgraph.look.records import Records
from mstgraph.look.saliency import looks
from mstgraph.page import charts
from mstgraph.page.of_answers import matrices
from mstgraph.page.parts import Block, Card, Chart, Gallery, Grid, Picture, Section, Words
from mstgraph.page.pictures import IGNORED, class_colours, map_picture, sample_picture
from mstgraph.predict.predict import open_recipe
from mstgraph.stages.node import RESPONSE
from mstgraph.support.errors import UserError, users_code

SHOWN = 8  # samples that distillation mended, and as many that it spoilt
SALIENT, MAPS = 6, 4
POINTS = 240  # samples whose features are shown
CONFUSED = 120  # maps whose pixels are counted
DIGITS = 3


def samples(run: Records, opened: Opened, target: str, notice: Callable[[str], None]) -> Section:
    """Test samples that the student answers otherwise than alone."""
    found = changed(run, target)
    title = f"Samples that changed for {target}"
    if found is None:
        return Section(title, [Words("Nobody knows which: there is no control, or no classes.")])
    words = f"{len(found.mended)} of the test samples were mended, {len(found.spoilt)} spoilt."
    blocks: list[Block] = [Words(words)]
    for name, chosen in (("mended", found.mended), ("spoilt", found.spoilt)):
        cards = _cards(run, opened, target, list(chosen[:SHOWN]), name, notice)
        if cards:
            blocks.append(Gallery(f"{name}: the first {len(cards)}", cards))
    return Section(title, blocks)


def _cards(
    run: Records,
    opened: Opened,
    target: str,
    positions: Sequence[int],
    mark: str,
    notice: Callable[[str], None],
) -> list[Card]:
    if not positions:
        return []
    seen = dict.fromkeys(
        name
        for member in (target, *(m["name"] for m in run.plan["members"]))
        for name in opened.experiment.inputs_of[member]
    )
    raw = {name: opened.raw(name, positions) for name in seen}
    written = _written(opened, raw, notice)
    answers = {title: counts(run, place) for title, place in run.responses().items()}
    share = run.statistics(run.last(target)).get("share")
    teachers = [teacher["name"] for teacher in run.plan["teachers"].get(target, ())]
    told, cards = [c for c in answers.values() if c is not None], []
    for i, position in enumerate(positions):
        labelled = next(c for c in told if c.labelled[position].any()).labelled[position]
        facts: list[tuple[str, str, bool | None]] = []
        for title, c in answers.items():
            if c is None or not c.single or ("." in title and title not in teachers):
                continue
            if not c.predicted[position].any():  # the sample lacks what this one sees
                continue
            said = int(c.predicted[position].argmax())
            facts.append((title, run.classes[said], bool(c.hit[position].any())))
        if share is not None and not np.isnan(share[position]).any():
            facts.append(("routed to", teachers[int(share[position].argmax())], None))
        dense = labelled.sum() != 1
        label = "" if dense else f": {run.classes[int(labelled.argmax())]}"
        pictures = [
            Picture(name, name, text=written[name][i])
            if name in written
            else sample_picture(values[i], name)
            for name, values in raw.items()
        ]
        cards.append(Card(f"sample {opened.ids()[position]}{label}", pictures, facts, mark))
    return cards


def _written(
    opened: Opened, raw: Mapping[str, np.ndarray], notice: Callable[[str], None]
) -> dict[str, list[str]]:
    """Return the text of each sample, of modalities of names that the recipe has words for."""
    modalities = opened.experiment.source.modalities
    names = [name for name in raw if modalities[name].integers]
    if not names:
        return {}
    try:
        recipe = open_recipe(opened.experiment, None, notice)
        with users_code(f"the words of {recipe.title} fail"):
            texts = {n: [recipe.words(modalities[n], values) for values in raw[n]] for n in names}
    except UserError as error:
        notice(f"text is shown as numbers: {error}")
        return {}
    return {name: text for name, text in texts.items() if any(text)}


def masks(run: Records, found: Sequence[Masked], target: str) -> Section:
    """What each MaskNet lets through."""
    blocks: list[Block] = []
    for one in found:
        if one.mask is None:
            continue
        mean, deviation = one.mask.mean(0), one.mask.std(0)
        low, high = np.quantile(one.mask, (0.1, 0.9), axis=0)
        data = [
            {
                "channel": i,
                "mask": _round(mean[i]),
                "low": _round(low[i]),
                "high": _round(high[i]),
            }
            for i in range(len(mean))
        ]
        damped = ", ".join(map(str, np.argsort(mean)[:5]))
        words = (
            f"Mean {mean.mean():.3f}, spread over samples {deviation.mean():.3f}; "
            f"the most damped channels are {damped}. 1 leaves a channel as it is; the band spans "
            "10 % to 90 % of the samples."
        )
        blocks.append(Chart(one.teacher, charts.band("channel", "mask"), data, words))
    return Section(f"Masks for {target}", blocks or [Words("No teacher has a mask that is kept.")])


def features(run: Records, found: Sequence[Masked], target: str, method: str) -> Section:
    """Features at the mask points, before and after the MaskNets, on a plane."""
    blocks: list[Block] = []
    for one in found:
        chosen = np.linspace(0, len(one.before) - 1, min(POINTS, len(one.before))).astype(int)
        points = flat(np.concatenate([one.before[chosen], one.after[chosen]]), method)
        labels = one.labels[chosen] if one.labels.ndim == 1 else None
        data = [
            {
                "x": _round(x),
                "y": _round(y),
                "status": "before" if i < len(chosen) else "after",
                "class": "" if labels is None else run.classes[int(labels[i % len(chosen)])],
            }
            for i, (x, y) in enumerate(points)
        ]
        choices = {"mask": "status"} if labels is None else {"mask": "status", "class": "class"}
        words = "Each test sample twice: as the member has it, and as the MaskNet rewrites it."
        chart = Chart(one.teacher, charts.plane(choices), data, words, numbers=False)
        blocks.append(chart)
    return Section(f"Features before and after masks, for {target}", blocks)


def saliency(run: Records, opened: Opened, target: str) -> Section:
    """Where networks look."""
    found = looks(run, opened, target, SALIENT)
    title = f"Where networks look, for {target}"
    if not found.rows:
        words = "The networks see vectors, which have no places to look at."
        return Section(title, [Words(words)])
    single = found.labels.ndim == 1
    columns = [
        run.classes[int(found.labels[j])] if single else f"sample {opened.ids()[p]}"
        for j, p in enumerate(found.positions)
    ]
    rows = {}
    for row in found.rows:
        rows[f"{row.title} ({row.modality})"] = [
            (
                sample_picture(
                    found.raw[row.modality][j],
                    run.classes[int(row.predicted[j])] if single else "",
                    row.maps[j],
                ),
                bool(row.predicted[j] == found.labels[j]) if single else None,
            )
            for j in range(len(columns))
        ]
    words = (
        "Grad-CAM: bright places speak for what the network says, which stands below; a column is "
        "a test sample with its label, those that distillation changed first."
    )
    return Section(title, [Grid(columns, rows, words)])


@torch.no_grad()
def segmentation(run: Records, opened: Opened, target: str) -> Section | None:
    """Maps side by side: label, alone, distilled, and the teachers; None of whole samples."""
    found = changed(run, target)
    labels = opened.labels([0])
    if labels.ndim != 3 or found is None:
        return None
    positions = [int(p) for p in (*found.mended[:MAPS], *found.spoilt[: MAPS // 2])]
    if not positions:
        return None
    count, spec = len(run.classes), opened.store.labels_spec
    labels = opened.labels(positions)
    ignored = np.isin(labels, [v for v in (spec.ignored, spec.unknown) if v is not None])
    answers = {}
    for title, place in run.responses().items():
        asked = opened.asked(title, place)
        logits = asked.outputs(opened.batch(positions, [asked.forward.member]))[RESPONSE]
        answers[title] = logits.argmax(1).numpy(force=True)
    raw = {name: opened.raw(name, positions) for name in opened.experiment.inputs_of[target]}
    cards = []
    for i, position in enumerate(positions):
        shown = {"label": labels[i], **{title: maps[i] for title, maps in answers.items()}}
        pictures = [sample_picture(values[i], name) for name, values in raw.items()]
        pictures += [map_picture(m, name, count, ignored[i]) for name, m in shown.items()]
        score = f"{100 * found.score[position]:+.1f} % of its pixels"
        mark = "mended" if found.score[position] > 0 else "spoilt"
        cards.append(
            Card(f"sample {opened.ids()[position]}", pictures, [("change", score, None)], mark)
        )
    seen = np.unique(np.concatenate([labels[~ignored], *(m[~ignored] for m in answers.values())]))
    colours = class_colours(count)
    key = {run.classes[c]: colours[c] for c in seen}
    key |= {"not counted": to_hex(IGNORED)} if ignored.any() else {}
    return Section(f"Maps of {target}, side by side", [Gallery("most changed first", cards, key)])


def pixels(run: Records, opened: Opened, target: str) -> Section:
    """What the pixels of maps are taken for, of the classes that there are."""
    positions = spread(len(opened.ids()), CONFUSED)
    pair = {how: run.responses().get(f"{target} {how}") for how in ("alone", "distilled")}
    found = {
        how: confusion_of_maps(opened, opened.asked(how, place), positions)
        for how, place in pair.items()
        if place is not None
    }
    there = np.flatnonzero(sum(m.sum(0) + m.sum(1) for m in found.values()))
    matrices_of = {how: m[np.ix_(there, there)] for how, m in found.items()}
    blocks = matrices([run.classes[i] for i in there], matrices_of)
    words = f"Pixels of {len(positions)} test samples, spread over the part."
    return Section(f"Confused pixels of {target}", [Words(words), *blocks])


def of_data(
    run: Records, opened: Opened, method: str, notice: Callable[[str], None]
) -> list[Section]:
    """Return all sections that need the store."""
    found: list[Section] = []
    for target in run.targets:
        dense = opened.labels([0]).ndim == 3
        maps = segmentation(run, opened, target) if dense else samples(run, opened, target, notice)
        masked = list(every_mask(opened, run.plan, target, 2 * POINTS))
        found += [maps] if maps else []
        found += [pixels(run, opened, target)] if dense else []
        if masked:
            found += [masks(run, masked, target), features(run, masked, target, method)]
        found.append(saliency(run, opened, target))
    return found


def _round(value: float) -> float:
    return round(float(value), DIGITS)
