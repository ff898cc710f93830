from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_recipes import Vectors

from mstgraph.store.declared import declared
from mstgraph.store.splits import (
    PARTS,
    continued_split,
    make_splits,
    numbered_split,
    official_split,
)
from mstgraph.support.errors import UserError

EXPECTED = [
    {"train": [1, 2, 4, 6, 8, 9], "validation": [3, 7], "test": [0, 5]},
    {"train": [0, 2, 3, 4, 6, 9], "validation": [1, 7], "test": [5, 8]},
    {"train": [0, 1, 2, 4, 5, 7], "validation": [3, 6], "test": [8, 9]},
    {"train": [1, 2, 4, 5, 6, 9], "validation": [0, 7], "test": [3, 8]},
    {"train": [2, 3, 4, 6, 8, 9], "validation": [0, 1], "test": [5, 7]},
]


@given(length=st.integers(3, 500), group=st.integers(0, 4))
def test_numbered_groups_partition_the_samples_60_20_20(length: int, group: int) -> None:
    """Every sample is in exactly one part, and the parts have ⌊0.6 N⌋, ⌊0.8 N⌋ − ⌊0.6 N⌋, rest."""
    split = numbered_split(length, group)
    assert [len(split[part]) for part in PARTS] == [
        3 * length // 5,
        4 * length // 5 - 3 * length // 5,
        length - 4 * length // 5,
    ]
    assert sorted(np.concatenate([split[part] for part in PARTS])) == list(range(length))
    assert all((np.diff(split[part]) > 0).all() for part in PARTS)


def test_numbered_groups_have_these_exact_members() -> None:
    """The groups are the same on every machine and with every version of numpy."""
    found = [
        {part: ids.tolist() for part, ids in numbered_split(10, group).items()}
        for group in range(5)
    ]
    assert found == EXPECTED


def test_groups_differ_from_each_other() -> None:
    """Five groups are five different draws."""
    splits = make_splits(declared(Vectors(length=100)))
    assert list(splits) == ["0", "1", "2", "3", "4"]
    assert len({tuple(split["test"]) for split in splits.values()}) == 5


def test_official_split_without_validation_sets_a_fifth_of_training_aside() -> None:
    """A fifth of the training ids becomes validation, the same each time; test stays as given."""
    split = official_split("cv", {"train": range(10, 60), "test": range(10)}, 60)
    again = official_split("cv", {"train": range(10, 60), "test": range(10)}, 60)
    assert len(split["validation"]) == 10
    assert sorted([*split["train"], *split["validation"]]) == list(range(10, 60))
    assert split["test"].tolist() == list(range(10))
    assert split["validation"].tolist() == again["validation"].tolist()
    assert split["validation"].tolist() != list(range(10, 20))


def test_official_split_with_validation_is_kept_as_given() -> None:
    """Nothing is moved between parts that the data itself defines."""
    given_parts = {"train": [3, 1], "validation": [0], "test": [2]}
    split = official_split("cv", given_parts, 4)
    assert {part: ids.tolist() for part, ids in split.items()} == {
        "train": [1, 3],
        "validation": [0],
        "test": [2],
    }


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": [0, 1], "test": [1]}, "sample 1 in both train and test"),
        (
            {"train": [0, 1], "validation": [2], "test": [2]},
            "sample 2 in both validation and test",
        ),
        (
            {"train": [0, 1], "validation": [0], "test": [2]},
            "sample 0 in both train and validation",
        ),
        ({"train": [0, 9], "test": [1]}, "names sample 9; expected 0 to 4"),
        ({"train": [-1], "test": [1]}, "names sample -1; expected 0 to 4"),
        ({"train": [0, 0], "test": [1]}, "names sample 0 more than once"),
        ({"train": [0.5], "test": [1]}, "expected a sequence of sample numbers"),
        ({"train": [0]}, "has no part 'test'"),
        ({"trian": [0], "test": [1]}, "unknown part 'trian'; did you mean 'train'?"),
    ],
)
def test_faulty_official_splits_are_refused(parts: dict, message: str) -> None:
    """A sample in two parts would leak the test set; it is named, not dropped."""
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        official_split("cv", parts, 5)


@given(cuts=st.lists(st.integers(1, 60), min_size=2, max_size=5), group=st.integers(0, 4))
def test_samples_that_follow_are_drawn_so_that_all_are_60_20_20(
    cuts: list[int], group: int
) -> None:
    """However many come at a time, each is in one part, and nothing is drawn alike twice."""
    first, counts = 0, np.zeros(3, int)
    for count in cuts:
        split = numbered_split(first + count, group, first)
        assert sorted(np.concatenate([*split.values()]).tolist()) == [*range(count)]
        counts += [len(split[part]) for part in PARTS]
        first += count
        assert np.cumsum(counts).tolist() == [first * 6 // 10, first * 8 // 10, first]
    draws = [numbered_split(start + 100, group, start)["test"].tolist() for start in (0, 100, 200)]
    assert len({*map(tuple, draws)}) == 3


def test_a_split_of_the_datas_own_goes_on() -> None:
    """New samples are counted from 0; a part that is set aside stays as it was."""
    given = {"train": [*range(5), 7, 8, 9, 10, 11], "test": [5, 6]}
    stored = official_split("own", {"train": range(5), "test": [5]}, 6)
    found = continued_split("own", given, stored, 6, 12)
    assert {part: len(ids) for part, ids in found.items()} == {
        "train": 4,
        "validation": 1,
        "test": 1,
    }
    assert sorted(np.concatenate([*found.values()]).tolist()) == [*range(6)]
    named = {"train": [0], "validation": [2], "test": [1, 3]}
    before = official_split("own", {"train": [0], "validation": [1], "test": [2]}, 3)
    with pytest.raises(UserError, match="'own' has another part for sample 1 than when it was"):
        continued_split("own", named, before, 3, 4)


def test_splits_that_leave_a_part_empty_are_refused() -> None:
    """Two samples cannot be split; nor may an official split take a numbered group's name."""
    with pytest.raises(UserError, match="has 2 samples; expected at least 3"):
        make_splits(declared(Vectors(length=2)))
    recipe = Vectors(length=10)
    recipe.splits = {"3": {"train": [0], "test": [1]}}
    with pytest.raises(UserError, match="has the name of a numbered group"):
        make_splits(declared(recipe))
    recipe.splits = {"cv": {"train": [0, 2], "test": [1]}}
    with pytest.raises(UserError, match="part 'validation' of split 'cv' is empty"):
        make_splits(declared(recipe))
