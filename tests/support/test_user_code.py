"""Which files a user's modules are, and that Python runs these and no others."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

from mstgraph.declare.load import load
from mstgraph.support.errors import UserError, is_users
from mstgraph.support.user_code import relative_path, user_modules

NETS = "import gin\nimport clash_helper\n\n\n@gin.configurable\ndef clash_net():\n    pass\n"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with folders a and b, each with a gin file and modules of its own."""
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "s.gin").write_text("import clash_nets\n")
        (tmp_path / name / "clash_nets.py").write_text(NETS)
        (tmp_path / name / "clash_helper.py").write_text("WIDTH = 1\n")
    return tmp_path


def refused(*files: str) -> str:
    """Return the one sentence that loading is refused with."""
    with pytest.raises(UserError) as caught:
        load(files)
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
    """Before the working directory; both stay at the end of Python's path while it is entered."""
    (folders / "clash_helper.py").write_text("WIDTH = 2\n")
    path = list(sys.path)
    configuration = load(["b/s.gin"])
    with configuration.entered():
        assert loaded("clash_nets").parent == loaded("clash_helper").parent == folders / "b"
        assert sys.path == [*path, str(folders / "b"), str(folders)]
    assert sys.path == path
    assert configuration.code.modules == {
        name: folders / "b" / f"{name}.py" for name in ("clash_helper", "clash_nets")
    }


def test_modules_are_there_while_their_configuration_is_entered(folders: Path) -> None:
    """Two have modules of one name; afterwards Python knows neither."""
    (folders / "b" / "clash_helper.py").write_text("WIDTH = 2\n")
    first, second = load(["a/s.gin"]), load(["b/s.gin"])
    with first.entered():
        module = sys.modules["clash_helper"]
        with second.entered():
            assert sys.modules["clash_helper"].WIDTH == 2
            with first.entered():
                assert sys.modules["clash_helper"] is module
        assert module.WIDTH == 1
        assert sys.modules["clash_helper"] is module
    assert not {"clash_helper", "clash_nets"} & sys.modules.keys()


@pytest.mark.parametrize("name", ["clash_nets", "clash_helper"])
def test_an_edited_module_is_read_again(folders: Path, name: str) -> None:
    """Also one that another imports, edited within a second to a text of the same length."""
    path = folders / "a" / f"{name}.py"
    path.write_text(path.read_text() + "SAYS = 1\n")
    before = load(["a/s.gin"])
    path.write_text(path.read_text().replace("SAYS = 1", "SAYS = 2"))
    after = load(["a/s.gin"])
    for configuration, expected in ((before, 1), (after, 2)):
        with configuration.entered():
            assert expected == sys.modules[name].SAYS


def test_a_module_of_the_programs_own_stays_its_own(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has imported it keeps his, also when the gin file's cannot be imported."""
    monkeypatch.syspath_prepend(folders / "a")
    own = importlib.import_module("clash_helper")
    monkeypatch.setitem(sys.modules, "clash_helper", own)
    with load(["b/s.gin"]).entered():
        assert sys.modules["clash_helper"] is not own
    assert sys.modules["clash_helper"] is own
    (folders / "b" / "clash_helper.py").write_text("WIDTH = 1 / 0\n")
    assert "cannot be imported: ZeroDivisionError" in refused("b/s.gin")
    assert sys.modules["clash_helper"] is own


def test_packages_without_a_file_are_read_again(folders: Path) -> None:
    """What a folder holds is found again, though Python keeps the folder's name."""
    for name, width in (("a", 1), ("b", 2)):
        (folders / name / "spread").mkdir()
        (folders / name / "spread" / "inner.py").write_text(f"WIDTH = {width}\n")
        (folders / name / "clash_nets.py").write_text("from spread import inner\n")
    for name, width in (("a", 1), ("b", 2)):
        with load([f"{name}/s.gin"]).entered():
            assert width == sys.modules["clash_nets"].inner.WIDTH


@pytest.mark.parametrize("name", ["clash_nets", "clash_helper"])
def test_two_gin_files_with_modules_of_one_name_are_refused(folders: Path, name: str) -> None:
    """The second would silently get the first one's, also through what it imports."""
    text = (folders / "b" / f"{name}.py").read_text()
    (folders / "b" / f"{name}.py").write_text(text + "# another\n")
    assert refused("a/s.gin", "b/s.gin") == (
        f"b/s.gin:1: the module '{name}' is {folders}/b/{name}.py here, but other code of that "
        f"name is loaded already, from {folders}/a/{name}.py; expected different names"
    )


def test_a_copy_of_a_module_is_as_good(folders: Path) -> None:
    """Such as those that a run leaves in its folder."""
    with load(["a/s.gin", "b/s.gin"]).entered():
        assert loaded("clash_nets").parent == folders / "a"


def test_a_module_that_was_edited_since_is_refused(folders: Path) -> None:
    """What would be told of a run would not be what ran."""
    configuration = load(["a/s.gin"])
    configuration.code.refuse_edited()
    path = folders / "a" / "clash_helper.py"
    path.write_text("WIDTH = 2\n")
    with pytest.raises(UserError) as caught:
        configuration.code.refuse_edited()
    assert str(caught.value) == (
        f"the module 'clash_helper' ({path}) has changed since it was loaded; expected that the "
        "gin files are loaded again"
    )


def test_a_module_that_hides_behind_an_installed_one_is_refused(folders: Path) -> None:
    """Where Python has loaded the installed one already."""
    (folders / "a" / "s.gin").write_text("import click\n")
    load(["a/s.gin"])
    (folders / "a" / "click.py").write_text("")
    assert "the module 'click' is" in refused("a/s.gin")
