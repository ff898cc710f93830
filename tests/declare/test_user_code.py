"""Which files a user's modules are, and that Python runs these and no others."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_graphs import forget

from mstgraph.declare.user_code import is_users, relative_path, user_modules
from mstgraph.derive.configurables import load
from mstgraph.support.errors import UserError

NETS = "import gin\nimport clash_helper\n\n\n@gin.configurable\ndef clash_net():\n    pass\n"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with folders a and b, each with a gin file and modules of its own."""
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "s.gin").write_text("import clash_nets\n")
        (tmp_path / name / "clash_nets.py").write_text(NETS)
        (tmp_path / name / "clash_helper.py").write_text("WIDTH = 1\n")
    yield tmp_path
    forget("clash_nets", "clash_helper")


def refused(file: str) -> str:
    """Return the one sentence that loading is refused with."""
    with pytest.raises(UserError) as caught:
        load([file])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def loaded(name: str) -> Path:
    """Return the file of a loaded module."""
    return Path(sys.modules[name].__file__ or "")


def test_what_is_installed_is_not_the_users() -> None:
    """Neither the package, nor the standard library, nor what pip put there."""
    for module in (pytest, os, sys.modules["mstgraph.declare.gin_files"]):
        assert not is_users(Path(module.__file__ or ""))
    assert is_users(Path(__file__))
    assert user_modules("mstgraph.declare.gin_files") == user_modules("torch") == {}
    assert user_modules("no_such_module") == {}


def test_a_module_lies_where_its_name_says() -> None:
    """Also a package and what is inside of it."""
    assert relative_path("nets", Path("/x/nets.py")) == Path("nets.py")
    assert relative_path("nets", Path("/x/nets/__init__.py")) == Path("nets/__init__.py")
    assert relative_path("nets.deep", Path("/x/nets/deep.py")) == Path("nets/deep.py")


def test_imports_are_found_wherever_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In packages, relative, inside of functions, in a circle; what cannot be read has none."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "far" / "near").mkdir(parents=True)
    texts = {
        "far/__init__.py": "",
        "far/one.py": "from . import two\nfrom .near.three import name\nimport torch.nn\n",
        "far/two.py": "def lazy():\n    import far.one, far_four as other\n",
        "far/near/three.py": "from ...... import beyond\nname = 1\n",
        "far_four.py": "this is no Python\n",
        "far/five.py": "",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    found = user_modules("far.one")
    assert found == {
        "far": tmp_path / "far/__init__.py",
        "far.near.three": tmp_path / "far/near/three.py",
        "far.one": tmp_path / "far/one.py",
        "far.two": tmp_path / "far/two.py",
        "far_four": tmp_path / "far_four.py",
    }
    assert not {"far", "far.one", "far_four"} & sys.modules.keys(), "nothing is imported"


def test_a_gin_files_own_folder_comes_first(folders: Path) -> None:
    """Also before folders of gin files that were loaded earlier, and the working directory."""
    for place in (folders, folders / "a"):
        (place / "clash_helper.py").write_text("WIDTH = 2\n")
    (folders / "a" / "s.gin").write_text("")
    load(["a/s.gin"])
    path = list(sys.path)
    configuration = load(["b/s.gin"])
    assert loaded("clash_nets").parent == loaded("clash_helper").parent == folders / "b"
    assert configuration.modules == {
        name: folders / "b" / f"{name}.py" for name in ("clash_helper", "clash_nets")
    }
    assert set(sys.path) - set(path) == {str(folders / "b"), str(folders)} - set(path)
    assert sys.path[0] == path[0]


@pytest.mark.parametrize("name", ["clash_nets", "clash_helper"])
def test_another_module_of_the_same_name_is_refused(folders: Path, name: str) -> None:
    """The second gin file would silently get the first one's, also through what it imports."""
    text = (folders / "b" / f"{name}.py").read_text()
    (folders / "b" / f"{name}.py").write_text(text + "# another\n")
    load(["a/s.gin"])
    assert refused("b/s.gin") == (
        f"b/s.gin:1: the module '{name}' is {folders}/b/{name}.py here, but other code of that "
        f"name is loaded already, from {folders}/a/{name}.py; expected different names, or a new "
        "Python process"
    )
    load(["a/s.gin"])


def test_a_copy_of_a_module_is_as_good(folders: Path) -> None:
    """Such as those that a run leaves in its folder."""
    load(["a/s.gin"])
    load(["b/s.gin"])
    assert loaded("clash_nets").parent == folders / "a"


@pytest.mark.parametrize("name", ["clash_nets", "clash_helper"])
def test_a_module_that_was_edited_since_is_refused(folders: Path, name: str) -> None:
    """What runs would not be what the file says."""
    load(["a/s.gin"])
    path = folders / "a" / f"{name}.py"
    path.write_text(path.read_text() + "# edited\n")
    assert refused("a/s.gin") == (
        f"a/s.gin:1: the module '{name}' ({path}) has changed since it was loaded; expected a new "
        "Python process"
    )


def test_a_module_that_hides_behind_an_installed_one_is_refused(folders: Path) -> None:
    """Where Python has loaded the installed one already."""
    (folders / "a" / "s.gin").write_text("import click\n")
    load(["a/s.gin"])
    (folders / "a" / "click.py").write_text("")
    assert "the module 'click' is" in refused("a/s.gin")
