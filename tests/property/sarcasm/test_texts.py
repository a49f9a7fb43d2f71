"""Whatever a text holds: it is cleaned to one line, comes back from a file, and is never parted from its duplicate."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from modicum.core.tables import Record, read_records
from modicum.sarcasm.data.examples import Example
from modicum.sarcasm.data.folds import grouped_split, groups, key
from modicum.sarcasm.data.preparation import Preparation, clean
from modicum.sarcasm.data.tables import write_predictions

texts = st.text(
    st.one_of(st.sampled_from('ab @#&;\n\r\t",{}حسن/:.😂'), st.characters(exclude_categories=["Cs"]))
).filter(lambda text: bool(text.strip()) and "\0" not in text)
few = st.sampled_from(["a", "A ", "b", "c", "d\n", "D", "e", "f", "g"])


@given(
    text=st.one_of(texts, st.lists(st.sampled_from(["@bob", "https://t.co/x", "#tag", "&amp;", "x", " "])).map("".join))
)
def test_a_clean_text_is_one_line_without_mentions_and_addresses(text: str) -> None:
    cleaned = clean(text)
    assert cleaned == cleaned.strip()
    assert "\n" not in cleaned
    assert not re.search(r"https?://[a-z0-9]|(?<![A-Za-z0-9_@])@[A-Za-z0-9_]", cleaned)


@given(text=texts, rephrase=texts)
def test_every_example_can_be_prepared(text: str, rephrase: str) -> None:
    prepared = Preparation().example(Example(text=text, language="ar", sarcastic=1, rephrase=rephrase, dialect="msa"))
    assert prepared.text.startswith("msa: ")


@settings(max_examples=50)
@given(rows=st.lists(texts, min_size=1, max_size=4), name=st.sampled_from(["out.csv", "out.tsv", "out.jsonl"]))
def test_what_is_written_to_a_file_is_read_from_it(rows: list[str], name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write_predictions(
            path, [Record(line=1, cells={"text": row}) for row in rows], [{"mark": row[::-1]} for row in rows]
        )
        assert [tuple(it.cells.values()) for it in read_records(path)[1]] == [(row, row[::-1]) for row in rows]


@given(pairs=st.lists(st.tuples(few, st.none() | few), min_size=1, max_size=12))
def test_groups_are_the_smallest_that_keep_duplicates_and_rephrases_together(
    pairs: list[tuple[str, str | None]],
) -> None:
    # XPUDU-C12
    examples = [Example(text=text, language="en", rephrase=rephrase) for text, rephrase in pairs]
    reached = [{key(text), key(rephrase or text)} for text, rephrase in pairs]
    for _ in pairs:
        reached = [set().union(*(other for other in reached if one & other)) for one in reached]
    wanted = np.array([[bool(one & other) for other in reached] for one in reached])
    found = groups(examples)
    assert np.array_equal(found[:, None] == found[None, :], wanted)


@settings(max_examples=50)
@given(
    words=st.lists(st.integers(0, 30), min_size=4, max_size=40),
    share=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**40),
)
def test_a_split_never_parts_duplicates(words: list[int], share: float, seed: int) -> None:
    # XPUDU-C12
    examples = [Example(text=f"t {word}", language="en", sarcastic=label) for word in words for label in (0, 1)]
    examples += [Example(text=f"own {label} {n}", language="en", sarcastic=label) for label in (0, 1) for n in (0, 1)]
    train, held = grouped_split(examples, share, seed)
    assert sorted([*train, *held]) == list(range(len(examples)))
    assert not {examples[index].text for index in train} & {examples[index].text for index in held}
