"""What ``-s`` says: a setting and the values that it may take."""

from __future__ import annotations

import pytest

from mstgraph.support.errors import UserError
from mstgraph.tuning.space import Choice, Real, Whole, parse_setting, parse_settings


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("DKD.k = 1..4", "DKD.k", Whole(1, 4)),
        ("DKD.k=-2 .. 3", "DKD.k", Whole(-2, 3)),
        ("depth/KL.temperature = log(1, 10)", "depth/KL.temperature", Real(1.0, 10.0, "log")),
        ("CI.alignment_weight = uniform(0, 2.5)", "CI.alignment_weight", Real(0, 2.5, "uniform")),
        ("student_rate = log(1e-4, 1e-2)", "student_rate", Real(1e-4, 1e-2, "log")),
        (
            "Member.loss = choice(@KL(), @a/DIST())",
            "Member.loss",
            Choice(("@KL()", "@a/DIST()")),
        ),
        (
            "MLP.hidden = choice((64, 64), (32,), %sizes)",
            "MLP.hidden",
            Choice(("(64, 64)", "(32,)", "%sizes")),
        ),
        ("x = choice('a, b', \"(\", None)", "x", Choice(("'a, b'", '"("', "None"))),
        ("x = choice(1, 2, 1)", "x", Choice(("1", "2"))),
    ],
)
def test_a_text_says_which_values_a_setting_may_take(text: str, name: str, values: object) -> None:
    """Commas in brackets and in strings belong to a value."""
    setting = parse_setting(text)
    assert (setting.name, setting.values) == (name, values)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("DKD.k", r"this names no setting; expected 'Name\.parameter = a\.\.b', 'log\(a, b\)', "),
        ("DKD.k = 3", "'3' is no range of values; expected .*; one value is -p$"),
        ("DKD.k = ", "'' is no range of values; expected .*…\\)'$"),
        ("DKD.k = 1..2.5", r"'1\.\.2\.5' is no range of values; expected .*…\)'$"),
        ("DKD.k = 4..1", "from 4 to 1 is upside down; expected a lower end first"),
        ("DKD.k = 4..4", "from 4 to 4 is a single value, which is -p; expected"),
        ("x = log(10, 1)", "from 10 to 1 is upside down"),
        ("x = log(0, 1)", r"log\(0, 1\) begins at 0, expected above 0"),
        ("x = log(1, 2, 3)", r"log\(1, 2, 3\) is no interval; expected log\(a, b\) with two"),
        ("x = uniform(a, 2)", r"uniform\(a, 2\) is no interval"),
        ("x = uniform(0, inf)", "a range has two ends; expected numbers that are finite"),
        ("x = choice()", r"choice\(…\) has none; expected two different ones or more"),
        ("x = choice(1, 1)", r"choice\(…\) has one value; expected two different ones or more"),
        ("x = choice(1, , 2)", "there is nothing before a comma; expected a value"),
        ("x = choice((1, 2)", "brackets or quotes do not close"),
        ("x = uniformly(1, 2)", r"there is no 'uniformly\(…\)'; did you mean 'uniform'\?"),
    ],
)
def test_what_is_no_range_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    """It begins with what was written."""
    with pytest.raises(UserError, match=sentence) as refused:
        parse_setting(text)
    assert str(refused.value).startswith(f"command line '-s {text}': ")


def test_there_is_something_to_tune_and_each_setting_once() -> None:
    """Two ranges of one setting would be two answers."""
    with pytest.raises(UserError, match="nothing is to be tuned; expected -s with 'Name"):
        parse_settings(())
    with pytest.raises(UserError, match=r"-s DKD\.k = 1\.\.3': 'DKD\.k' is tuned twice"):
        parse_settings(("DKD.k = 1..3", "DKD.k = 2..4"))


@pytest.mark.parametrize("value", [1.0, 2.31849, 9.99999, 10.0, 0.000123456])
def test_a_number_is_trained_with_as_it_is_shown(value: float) -> None:
    """Four digits, within the range, and a float to gin."""
    text = Real(1e-4, 10.0, "log").text(value)
    assert "." in text or "e" in text
    assert len(text.replace(".", "").strip("0").partition("e")[0]) <= 4
    assert float(text) == pytest.approx(value, rel=1e-3)
    assert 1e-4 <= float(text) <= 10.0
