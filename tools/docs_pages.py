"""Pages of the documentation that are made of what stands elsewhere, for ``mkdocs build``.

``index.md`` is the README, ``contributing.md`` and ``architecture.md`` the pages of these names,
and ``settings.md`` every gin setting, read from the code.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from mstgraph.declare.gin_state import configurables
from mstgraph.declare.load import register

ROOT = Path(__file__).resolve().parents[1]
TAKEN_OVER = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "architecture.md": "ARCHITECTURE.md",
}
ROOMS = {  # what a setting's module says it is about
    "declare": "The graph, the data, the engine",
    "stages": "Stages, schedules, optimisers",
    "methods": "Losses of edges",
    "distil": "Masks and gates",
    "networks": "Networks",
    "tasks": "Tasks",
    "data": "Augmentation",
}
GIVEN = {  # room → parameters that mstgraph gives, and nobody binds
    "networks": ("inputs", "num_outputs"),
    "distil": ("shape", "num_outputs", "num_teachers", "dense"),
    "declare": ("scope",),
    "tasks": ("labels", "classes"),
}
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for name, source in TAKEN_OVER.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=LINK.sub(_as_page, text)))
    files.append(File.generated(config, "settings.md", content=settings_page()))
    return files


def _as_page(link: re.Match[str]) -> str:
    """Return a link of a page of the repository's top as one of the documentation's."""
    pages = {source: page for page, source in TAKEN_OVER.items()}
    target = link[1].removeprefix("docs/")
    return f"]({pages.get(target, target)}"


def settings_page() -> str:
    """Return every setting that a gin file may bind, with its default and its meaning."""
    register()
    rooms: dict[str, list[str]] = {title: [] for title in ROOMS.values()}
    for name, made in sorted(configurables().items(), key=lambda item: item[0].lower()):
        room = made.__module__.split(".")[1]
        if room in ROOMS:
            rooms[ROOMS[room]].append("\n".join(_section(name, made)))
    chapters = (f"## {title}\n\n" + "\n\n".join(found) for title, found in rooms.items() if found)
    return (
        "# Every setting\n\nWhat a gin file or `-p` may bind, for all (`CI.epochs = 2`) or for one "
        "member by its scope\n(`fused/CI.epochs = 2`). `mstgraph show` says which of them a run "
        "reads. Optimisers are torch's,\nby name and with its settings: `Pretrain.optimizer = "
        "@AdamW`, `AdamW.weight_decay = 0.01`.\n\n" + "\n\n".join(chapters) + "\n"
    )


def _section(name: str, made: Callable[..., Any]) -> Iterator[str]:
    meanings = _meanings(made)
    first = (inspect.getdoc(made) or "").split("\n\n")[0].replace("\n", " ")
    yield f"### {name}\n\n{first}\n"
    given = GIVEN.get(made.__module__.split(".")[1], ())
    rows = [row for row in _parameters(made) if row[0] not in given]
    if rows:
        yield "| setting | default | meaning |\n|---|---|---|"
    for parameter, default in rows:
        meaning = meanings.get(parameter, "").replace("\n", " ").replace("|", "\\|")
        yield f"| `{name}.{parameter}` | {default} | {meaning} |"


def _parameters(made: Callable[..., Any]) -> list[tuple[str, str]]:
    """Return (name, default) of each parameter."""
    fields = dataclasses.fields(made) if dataclasses.is_dataclass(made) else ()
    factories = {f.name: f.default_factory for f in fields}
    return [
        (parameter.name, _default(parameter.default, factories.get(parameter.name)))
        for parameter in inspect.signature(made).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]


def _default(value: Any, factory: Any) -> str:
    if value is inspect.Parameter.empty:
        return "–"
    if callable(factory):
        value = factory()
    text = getattr(value, "__name__", None) or repr(value)
    return f"`{text}`"


def _meanings(made: Callable[..., Any]) -> dict[str, str]:
    """Return parameter → what its docstring says, those of base classes with it."""
    classes = made.__mro__[::-1] if isinstance(made, type) else (made,)
    texts = [inspect.getdoc(c) or "" for c in classes if not _foreign(c)]
    if isinstance(made, type) and not dataclasses.is_dataclass(made):
        texts.append(inspect.getdoc(vars(made).get("__init__")) or "")
    found: dict[str, str] = {}
    for text in texts:
        for section in griffe.Docstring(text).parse("google", warnings=False):
            if section.kind.value in ("attributes", "parameters"):
                found |= {item.name: item.description for item in section.value}
    return found


def _foreign(made: Any) -> bool:
    return not made.__module__.startswith("mstgraph")
