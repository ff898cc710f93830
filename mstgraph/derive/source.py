"""Where the data of an experiment comes from: a store, a recipe, or a demonstration instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mstgraph.data.labelled import kept_count
from mstgraph.declare.configuration import Configuration, find_file, find_folder
from mstgraph.declare.load import load
from mstgraph.declare.settings import Data
from mstgraph.store.declared import declared
from mstgraph.store.destination import is_vacant, partial_of
from mstgraph.store.load import load_recipe, missing_raw, recipe_class
from mstgraph.store.reader import Store
from mstgraph.store.recipe import Labels, Modality
from mstgraph.store.splits import numbered_split
from mstgraph.store.staleness import edited_module, other_raw_data
from mstgraph.support.errors import UserError, nearest
from mstgraph.support.files import file_digest

NUMBERED = "numbered"

Notice = Callable[[str], None]
Prepare = Callable[[Data, Path], Store]


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
        own_split: name of the first split that comes with the data; empty if none does.
    """

    title: str
    synthetic: str
    modalities: Mapping[str, Modality]
    labels: Labels
    length: int
    store: Store | None
    own_split: str = ""

    def split_name(self, data: Data, seed: int) -> str:
        """Return the name of the split that the settings ask for, see `Data.split`."""
        if data.split is None and self.own_split:
            return self.own_split
        return str(seed % 5) if data.split in (None, NUMBERED) else str(data.split)

    def samples(self, split: str) -> dict[str, int]:
        """Return the number of samples of each part of a split.

        Of an official split nothing is known before the store is built: {}.
        """
        if self.store is not None:
            return dict(self.store.metadata["splits"][split])
        if not split.isdigit():
            return {}
        return {part: len(ids) for part, ids in numbered_split(self.length, int(split)).items()}

    def labelled(self, data: Data) -> dict[str, int]:
        """Return the number of samples of each part that have a label, of some pixel at least.

        Those whose label is hidden for an experiment have none. {} where it is not known before
        the store is built.

        Args:
            data: the data's settings, its split resolved to a name.
        """
        counts = self.samples(str(data.split))
        if self.store is None and self.labels.unknown is not None:
            return {}
        if self.store is not None:
            # Stores of earlier versions do not say it, and know every label.
            splits = self.store.metadata.get("unlabelled", {}).get("splits", {})
            without = splits.get(str(data.split), {})
            counts = {part: count - without.get(part, 0) for part, count in counts.items()}
        if data.labelled is not None and counts:
            counts["train"] = kept_count(counts["train"], data.labelled)
        return counts

    @property
    def presence(self) -> Mapping[str, Any]:
        """Which modalities go with which, see `mstgraph.store.build.presence`; {}: all with all.

        Of samples that may lack some, it is {} as well before the store is built.
        """
        return self.store.metadata.get("presence", {}) if self.store else {}

    @property
    def fingerprint(self) -> str:
        """The store's fingerprint; empty before it is built, so that no hash comes out equal."""
        return self.store.fingerprint if self.store else ""


def load_with_data(
    files: Sequence[Path | str],
    bindings: Sequence[str],
    notice: Notice,
    finished: bool,
    code: bool = True,
) -> tuple[Sequence[Path | str], Configuration, Data]:
    """Load gin files, and find what they say of the data.

    Without the data that the files ask for, the demonstration profile is put on the first of them.

    Args:
        files: gin files.
        bindings: bindings that win over them.
        notice: is told of a stand-in.
        finished: whether this is a finished run, which needs its store and nothing beyond it.
        code: whether the gin files may import modules.

    Returns:
        The files with the profile among them, the configuration, the data's settings.

    Raises:
        UserError: the data is not here, and nothing stands in for it.
    """
    configuration = load(files, bindings, code=code)
    data = _data(configuration)
    if finished:
        return files, configuration, _with_its_store(data, configuration)
    if not data.store or not data.recipe:
        missing = "store" if not data.store else "recipe"
        place = configuration.where("data", missing)
        raise UserError(f"{place}: data.{missing} is missing; include a data set's gin file")
    if not is_vacant(Path(data.store)):
        return files, configuration, data
    recipe = _named_file(data.recipe, "recipe", configuration)
    lacking = missing_raw(recipe, Path(data.raw) if data.raw else None)
    if lacking is None:
        return files, configuration, data
    asked = any(configuration.on_command_line("data", p) for p in ("store", "recipe", "raw"))
    begun = partial_of(Path(data.store)).exists()
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


def _data(configuration: Configuration) -> Data:
    with configuration.entered():
        return Data()


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


def find_source(
    data: Data, configuration: Configuration, prepare: Prepare | None, finished: bool
) -> Source:
    """Open the store, prepare it, or ask the recipe what it will hold.

    Args:
        data: the data's settings.
        configuration: where they stand, for messages.
        prepare: builds a missing store; None leaves it unbuilt.
        finished: whether the recipe need not be here any more.

    Raises:
        UserError: the store is of other options or of another recipe.
    """
    path = Path(data.store)
    store = None
    if not is_vacant(path):
        store = Store(path)
        _check_options(data, store, configuration)
        if not finished:
            _check_recipe(data, store, configuration)
            _check_raw(data, store, configuration)
    elif prepare is not None:
        store = prepare(data, _named_file(data.recipe, "recipe", configuration))
    if store is not None:
        title, synthetic = store.metadata["title"], store.metadata["synthetic"]
        own = next((name for name in store.metadata["splits"] if not name.isdigit()), "")
        return Source(
            title, synthetic, store.modalities, store.labels_spec, store.length, store, own
        )
    raw = Path(data.raw) if data.raw else None
    path = _named_file(data.recipe, "recipe", configuration)
    said = declared(load_recipe(path, raw, data.options))
    modalities = {modality.name: modality for modality in said.modalities}
    own = next(iter(said.official_splits), "")
    return Source(said.title, said.synthetic, modalities, said.labels, said.length, None, own)


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
    if file_digest(recipe) != prepared["sha256"]:
        same = recipe.name == prepared["file"]
        other = f"'{prepared['file']}', not by '{recipe}'"
        by = f"'{recipe}' before it was edited" if same else other
    elif module := edited_module(prepared, recipe):
        by = f"'{recipe}' before its module '{module}' was edited"
    else:
        return
    raise UserError(
        f"{configuration.where('data', 'recipe')}: the store '{data.store}' was prepared by {by}; "
        "expected its own recipe in data.recipe, another place in data.store, or that you remove "
        "it to have it prepared again"
    )


def _check_raw(data: Data, store: Store, configuration: Configuration) -> None:
    """A store of other raw data, or of this before it was changed, holds other samples."""
    raw = Path(data.raw) if data.raw else None
    other = other_raw_data(store.metadata["recipe"], raw)
    if other is not None:
        raise UserError(
            f"{configuration.where('data', 'raw')}: the store '{data.store}' was prepared from "
            f"other raw data: {other}; expected the same, another place in data.store, or that you "
            "remove the store to have it prepared again (`mstgraph store append` adds samples that "
            "are new)"
        )
