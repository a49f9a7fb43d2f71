"""No text is held out while its duplicate or its rephrase is trained on."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from modicum.core import catalogue
from modicum.errors import ConfigError, DataError
from modicum.sarcasm.data.examples import Example, Language
from modicum.sarcasm.data.folds import grouped_folds, grouped_split, groups, key
from modicum.sarcasm.data.isarcasm import read_train


def example(text: str, label: int | None = 0, rephrase: str | None = None, language: Language = "en") -> Example:
    return Example(text=text, language=language, sarcastic=label, rephrase=rephrase)


def distinct(count: int, label: int, language: Language = "en") -> list[Example]:
    return [example(f"{language} {label} text {number}", label, language=language) for number in range(count)]


def test_case_and_white_space_do_not_make_another_text() -> None:
    assert key(" Oh\n\nGREAT  day ") == key("oh great day") == "oh great day"
    assert key("oh great-day") != key("oh great day")


def test_duplicates_and_rephrases_are_joined_through_others() -> None:
    examples = [
        example("a", 1, rephrase="b"),
        example("lonely"),
        example("C", 1, rephrase=" B "),
        example("c\n"),
        example("b"),
        example("x", 1, rephrase="y"),
        example("z", 1, rephrase="Y"),
    ]
    a, lonely, c, c_again, b, x, z = groups(examples)
    assert a == c == c_again == b
    assert x == z
    assert len({a, lonely, x}) == 3


def test_no_examples_have_no_groups() -> None:
    assert groups([]).shape == (0,)


def test_folds_hold_each_example_out_once_and_keep_languages_and_labels_in_proportion() -> None:
    pool = distinct(40, 1) + distinct(80, 0) + distinct(20, 1, "ar") + distinct(60, 0, "ar")
    folds = grouped_folds(pool, 4, seed=3)
    assert len(folds) == 4
    for train, held in folds:
        assert sorted([*train, *held]) == list(range(200))
        counts = Counter((pool[index].language, pool[index].sarcastic) for index in held)
        assert counts == {("en", 1): 10, ("en", 0): 20, ("ar", 1): 5, ("ar", 0): 15}


def test_a_seed_gives_the_same_folds_again_and_another_one_others() -> None:
    pool = distinct(30, 1) + distinct(30, 0)
    first, again, other = (grouped_folds(pool, 3, seed)[0][1].tolist() for seed in (0, 0, 1))
    assert first == again != other
    first, again, other = (grouped_split(pool, 0.3, seed)[1].tolist() for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize(("share", "wanted"), [(0.2, (8, 4)), (0.5, (20, 10)), (0.001, (1, 1)), (0.999, (39, 19))])
def test_a_split_holds_out_the_share_of_each_label_and_leaves_some_of_each(
    share: float, wanted: tuple[int, int]
) -> None:
    pool = distinct(20, 1) + distinct(40, 0)
    train, held = grouped_split(pool, share, seed=0)
    assert sorted([*train, *held]) == list(range(60))
    labels = Counter(pool[index].sarcastic for index in held)
    assert (labels[0], labels[1]) == wanted


def test_sorted_rows_are_shuffled() -> None:
    _, held = grouped_split(distinct(50, 1) + distinct(50, 0), 0.2, seed=0)
    assert held[:10].tolist() != list(range(10))


def test_too_few_groups_for_the_folds_are_named() -> None:
    pool = [*distinct(9, 0), *[example("Same", 1), example("same ", 1), example("other", 1)]]
    with pytest.raises(DataError, match=r"Only 2 distinct texts in 'en' are labelled 1, .* 3 are needed. Give more"):
        grouped_folds(pool, 3, seed=0)
    assert len(grouped_folds(pool, 2, seed=0)) == 2


@pytest.mark.parametrize("count", [1, 0, -2])
def test_fewer_than_two_folds_are_refused(count: int) -> None:
    with pytest.raises(ConfigError, match=rf"The number of folds is {count}. Give 2 or more"):
        grouped_folds(distinct(4, 0), count, seed=0)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_a_share_that_leaves_nothing_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=r"The share that is held out is .* Give a number between 0 and 1"):
        grouped_split(distinct(4, 0), share, seed=0)


def test_nothing_cannot_be_parted() -> None:
    with pytest.raises(DataError, match="There are no examples to split"):
        grouped_folds([], 2, seed=0)


@pytest.mark.data("isarcasmeval")
def test_the_real_texts_are_parted_safely_and_in_proportion() -> None:  # XPUDU-C12
    folder = catalogue.fetch("isarcasmeval")
    pool = read_train(folder, "en") + read_train(folder, "ar")
    totals = Counter((it.language, it.sarcastic) for it in pool)
    parts = [*grouped_folds(pool, 5, seed=0), grouped_split(pool, 0.2, seed=0)]
    assert np.sort(np.concatenate([held for _, held in parts[:5]])).tolist() == list(range(6569))
    for train, held in parts:
        seen, unseen = (
            {key(text) for index in side for text in (pool[index].text, pool[index].rephrase) if text}
            for side in (train, held)
        )
        assert not seen & unseen
        for stratum, count in Counter((pool[index].language, pool[index].sarcastic) for index in held).items():
            assert count / totals[stratum] == pytest.approx(0.2, abs=0.005)
