"""Gin has one state per process; what is loaded here leaves it to whoever else uses it."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import gin
import pytest
from gin.selector_map import SelectorMap

from mstgraph.declare.load import load
from mstgraph.stages.ci import CI
from mstgraph.support.errors import UserError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A gin file."""
    path = tmp_path / "a.gin"
    path.write_text("CI.epochs = 3\n")
    return path


@pytest.fixture
def own() -> Iterator[dict[str, object]]:
    """A program that has bindings of its own and has locked them; yields what gin remembers."""
    gin.parse_config("CI.epochs = 99\nCI.learning_rate = 0.5")
    CI()
    gin.finalize()
    yield remembered()
    gin.clear_config()


def remembered() -> dict[str, object]:
    """Return in words what gin's module holds: the content of its containers, and its flags."""
    found: dict[str, object] = {}
    for name, value in vars(gin.config).items():
        if name.startswith("__") or name == "_ARG_SPEC_CACHE":  # signatures it has looked up
            continue
        if isinstance(value, (dict, SelectorMap)):
            found[name] = sorted(map(repr, value.items()))
        elif isinstance(value, (set, list, bool)):
            found[name] = repr(value)
    return found


def test_a_locked_program_finds_gin_as_it_was(file: Path, own: dict[str, object]) -> None:
    """Its bindings, registry, what it has read, its lock and the scope that it is in."""
    with gin.config_scope("outer"):
        configuration = load([file])
        assert gin.current_scope_str() == "outer"
        with configuration.entered():
            assert gin.current_scope_str() == ""
            assert (CI().epochs, CI().learning_rate) == (3, CI(epochs=3).learning_rate)
            assert gin.config_is_locked()
    assert remembered() == own
    assert (CI().epochs, CI().learning_rate) == (99, 0.5)


def test_gin_is_put_back_after_an_error(tmp_path: Path, file: Path, own: dict[str, object]) -> None:
    """In the gin file, or in what is done while it is entered."""
    with pytest.raises(UserError), load([file]).entered():
        load([tmp_path / "nothing.gin"])
    with pytest.raises(KeyboardInterrupt), load([file]).entered():
        raise KeyboardInterrupt
    assert remembered() == own


def test_two_are_open_at_once(file: Path) -> None:
    """Each finds its own bindings, in whatever order they are entered."""
    one, two = load([file]), load([file], ["CI.epochs = 4"])
    with one.entered():
        assert CI().epochs == 3
        with two.entered():
            assert CI().epochs == 4
            with one.entered():
                assert CI().epochs == 3
            assert CI().epochs == 4
        assert CI().epochs == 3


def test_another_thread_waits_until_the_state_is_left(file: Path) -> None:
    """Gin has one state at a time for all threads."""
    one, two = load([file]), load([file], ["CI.epochs = 4"])
    found: list[int] = []

    def other() -> None:
        with two.entered():
            found.append(CI().epochs)

    with one.entered():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.2)
        assert (found, CI().epochs) == ([], 3)
    thread.join()
    assert found == [4]


def test_a_copy_is_configured_alike_and_a_pickle_leaves_gin_behind(file: Path) -> None:
    """As a copied student is; another process has other modules."""
    configuration = load([file])
    assert copy.deepcopy(configuration) is configuration
    assert pickle.loads(pickle.dumps(configuration)).files == (file,)


def test_nothing_registers_with_a_program_that_has_locked_gin(file: Path) -> None:
    """Not even when mstgraph is imported for the first time."""
    code = (
        "import gin\nbefore = dict(gin.config._REGISTRY.items())\ngin.finalize()\n"
        f"import mstgraph\nmstgraph.Experiment, mstgraph.bench\n"
        "assert dict(gin.config._REGISTRY.items()) == before and gin.config_is_locked()\n"
        f"from mstgraph.declare.load import load\nload([{str(file)!r}])\n"
        "assert dict(gin.config._REGISTRY.items()) == before and gin.config_is_locked()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
