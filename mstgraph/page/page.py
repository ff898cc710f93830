"""One page of one file: runs, or a benchmark, with the library that draws its charts inside."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mstgraph.look.opening import opened_run
from mstgraph.look.records import Records
from mstgraph.page import of_run
from mstgraph.page.of_answers import answers
from mstgraph.page.of_bench import RESULTS, of_bench
from mstgraph.page.of_data import of_data
from mstgraph.page.of_runs import side_by_side
from mstgraph.page.parts import Article, Section, Words
from mstgraph.support.errors import UserError
from mstgraph.support.files import json_ready, write_text
from mstgraph.support.numerics import choose_device
from mstgraph.viz.colours import DARK, LIGHT

TEMPLATE = Path(__file__).parent / "template"
MARK = b'<meta name="generator" content="mstgraph">'  # tells a page that may be written again
MARKED = 1000  # bytes at its beginning, among which the mark stands


def write_page(
    folders: Sequence[Path],
    out: Path,
    *,
    method: str = "pca",
    device: str = "auto",
    notice: Callable[[str], None] = lambda _: None,
) -> None:
    """Write a page about runs or about benchmarks.

    Args:
        folders: of runs, finished or at work, or of benchmarks.
        out: the file.
        method: how features are laid out, see `mstgraph.look.features.flat`.
        device: where networks are asked.
        notice: is told what the user should know.

    Raises:
        UserError: a folder is neither, or a library is not installed.
    """
    refuse_others(out, folders)
    notice = cache(notice)  # galleries of one run open the same recipe, which is told once
    benches = [folder for folder in folders if (folder / RESULTS).is_file()]
    runs = [Records(folder) for folder in folders if folder not in benches]
    script, render = _library(), _template()
    articles = [of_bench(folder) for folder in benches]
    articles += [side_by_side(runs)] if len(runs) > 1 else []
    articles += [of_record(run, method, device, notice) for run in runs]
    write_text(out, render(articles, script))


def refuse_others(out: Path, folders: Sequence[Path]) -> None:
    """Refuse to write over a file that is no page, or into the folder of a run.

    Raises:
        UserError: there is such a file, or a folder of the name.
    """
    if any(out.resolve().is_relative_to(folder.resolve()) for folder in folders):
        raise UserError(f"'{out}' lies in a folder that is shown; expected a place beside it")
    if not out.exists():
        return
    if not out.is_file() or MARK not in out.read_bytes()[:MARKED]:
        raise UserError(
            f"'{out}' is there already and is no page of mstgraph's; expected that you move it, or "
            "another file with --out"
        )


def of_record(run: Records, method: str, device: str, notice: Callable[[str], None]) -> Article:
    """Return all about one run."""
    data = run.plan["data"]
    under = f"{data['title']} · seed {run.plan['seed']} · {run.path}"
    sections = [
        of_run.gain(run),
        of_run.paths(run),
        of_run.curves(run),
        *of_run.routing(run),
        *answers(run),
        *_at_work(run, method, device, notice),
        of_run.between(run),
        of_run.cost(run),
        of_run.configuration(run),
    ]
    return Article(run.plan["name"], under, data["synthetic"], sections, _unfinished(run))


def _at_work(
    run: Records, method: str, device: str, notice: Callable[[str], None]
) -> list[Section]:
    """Return what needs networks and data, or why that cannot be shown."""
    title = "Samples, masks, features and saliency"
    if not run.finished:
        return [Section(title, [Words("These are shown once the run is finished.")])]
    try:
        with opened_run(run.path, choose_device(device), None, notice) as opened:
            return of_data(run, opened, method, notice)
    except UserError as error:
        return [Section(title, [Words(f"They need the data and the run's code: {error}.")])]


def _unfinished(run: Records) -> str:
    if run.finished:
        return ""
    states = {name: run.history(name) for name in run.stages}
    done = [name for name in run.stages if run.artefact(name) is not None]
    begun = [name for name, rows in states.items() if rows and name not in done]
    now = "".join(f"; {name} is at epoch {states[name][-1]['epoch']}" for name in begun)
    return f"Not finished: {len(done)} of {len(run.stages)} stages are done{now}."


def _template() -> Callable[[Sequence[Article], str], str]:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise _missing(error) from error
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["script"] = _in_script
    page = environment.get_template("page.html")

    def render(articles: Sequence[Article], script: str) -> str:
        style = (TEMPLATE / "page.css").read_text(encoding="utf-8")
        palettes = {"light": LIGHT, "dark": DARK}
        return page.render(articles=articles, library=script, style=style, palettes=palettes)

    return render


@cache
def _library() -> str:
    """Return Vega with the page's own script, as one module that needs nothing else."""
    try:
        from vl_convert import get_vegalite_versions, javascript_bundle
    except ImportError as error:
        raise _missing(error) from error
    own = (TEMPLATE / "page.js").read_text(encoding="utf-8")
    bundle: str = javascript_bundle(own, vl_version=get_vegalite_versions()[-1])
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _in_script(value: Any) -> str:
    """Return JSON that may stand in a script element."""
    text = json.dumps(json_ready(value), ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _missing(error: ImportError) -> UserError:
    return UserError(f"a page needs {error.name}; install it with: pip install 'mstgraph[report]'")
