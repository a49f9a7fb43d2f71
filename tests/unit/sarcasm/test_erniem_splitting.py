"""The rule by which ERNIE-M splits what SentencePiece gives."""

from __future__ import annotations

import pytest

from modicum.sarcasm.erniem.tokenizer import fragments, span


@pytest.mark.parametrize(
    ("pieces", "wanted"),
    [
        ([], []),
        (["▁test", "ing"], ["▁test", "ing"]),
        (["▁中文好"], ["中", "文", "好"]),  # the space that was split off is dropped
        (["▁a中b"], ["▁a", "中", "b"]),
        (["▁lat", "e12"], ["▁lat", "e", "12"]),  # after the choice of pieces: none is joined to "late"
        (["。test"], ["。", "test"]),
        (["▁,;:.?!~，；：。？！《》【】"], [*",;:.?!~，；：。？！《》【】"]),
        (["▁don't-(x)\"…、"], ["▁don't-(x)\"…、"]),  # other punctuation splits nothing
        (["ab12cd3"], ["ab", "12", "cd", "3"]),
        (["▁2024年"], ["2024", "年"]),
        (["▁٣ب"], ["٣", "ب"]),  # Arabic digits are digits
        (["x²½"], ["x", "²", "½"]),  # a superscript is one, a fraction is none
        (["\u4dff\u4e00\u9fff\ua000"], ["\u4dff", "\u4e00", "\u9fff", "\ua000"]),  # the ends of the range
        (["かな한글"], ["かな한글"]),
        (["1,000.5"], ["1", ",", "000", ".", "5"]),
    ],
)
def test_pieces_are_split(pieces: list[str], wanted: list[str]) -> None:  # XPUDU-C4
    assert [fragment for _, fragment in fragments(pieces)] == wanted


@pytest.mark.parametrize(
    ("pieces", "wanted"),
    [
        (["▁", "中"], ["中"]),  # the first
        (["a", "▁", "中"], ["a", "▁", "中"]),
        (["a", "▁", "▁b"], ["a", "▁b"]),  # the next one has its own
        (["a", "▁", "▁", "b"], ["a", "▁", "b"]),
        (["a", "▁"], ["a"]),  # where the reference raised IndexError
        (["▁"], []),
        (["▁", "▁"], []),
    ],
)
def test_a_lone_space_stays_between_two_pieces_of_which_the_second_has_none(
    pieces: list[str], wanted: list[str]
) -> None:  # XPUDU-C4
    assert [fragment for _, fragment in fragments(pieces)] == wanted


def test_a_space_at_the_end_of_a_piece_stays_as_in_the_reference() -> None:
    assert [fragment for _, fragment in fragments(["a,▁", "▁b"])] == ["a", ",", "▁", "▁b"]


def test_fragments_know_where_they_begin() -> None:
    pieces = ["▁a", "▁", "▁中1", "b,"]
    assert list(fragments(pieces)) == [(0, "▁a"), (4, "中"), (5, "1"), (6, "b"), (7, ",")]
    joined = "".join(pieces)
    assert all(joined.startswith(fragment, start) for start, fragment in fragments(pieces))


def test_a_span_leaves_out_the_space_before_a_word() -> None:
    places = [0, 0, 1, 4, 5]  # "▁a▁b" for "a   b"
    assert span(0, "▁a", places) == (0, 1)
    assert span(2, "▁b", places) == (4, 5)
    assert span(2, "▁", places) == (1, 4)


def test_characters_that_were_one_share_its_place() -> None:
    places = [0, 0, 0, 0, 1, 2]  # "▁...x" for "…x"
    assert [span(start, ".", places) for start in (1, 2, 3)] == [(0, 1)] * 3
    assert span(4, "x", places) == (1, 2)
