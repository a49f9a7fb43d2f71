from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from modicum.core.report import Report, table
from modicum.core.report.words import arm_columns


def printed(report: Report, width: int, *, colour: bool = False) -> str:
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=colour, color_system="standard" if colour else None).print(
        table(report)
    )
    return file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 140, 200])
def test_no_line_is_wider_than_the_terminal(report: Report, width: int) -> None:
    assert max(map(cell_len, printed(report, width).splitlines())) <= width


@pytest.mark.parametrize("width", [80, 140])
def test_no_number_is_lost_or_broken_at_any_width(large: Report, width: int) -> None:
    text = printed(large, width)
    for column in arm_columns(large):
        if column.numeric:
            for cell in column.cells:
                assert cell.replace("−", "-").replace("–", "-") in text


def test_the_question_comes_first_and_the_caption_last(large: Report) -> None:
    lines = printed(large, 200).splitlines()
    assert lines[0] == large.question
    assert lines[-1].endswith("for the 10 pairs of this report.")
    assert "better: HyPe is better than plain fine-tuning." in lines
    assert "no difference shown: The constants of the paper show no difference." in lines


def test_columns_share_a_table_where_they_fit_and_move_below_where_not(large: Report) -> None:
    heads = {
        width: [line for line in printed(large, width).splitlines() if line.startswith("arm ")] for width in (80, 200)
    }
    assert len(heads[200]) == 1
    assert len(heads[80]) > 1


def test_names_are_never_read_as_rich_markup(hostile: Report) -> None:
    assert "[red]a name" in printed(hostile, 300)


def test_a_verdict_is_a_word_and_only_then_a_colour(large: Report) -> None:
    assert "\x1b[1;32mbetter" in printed(large, 140, colour=True)
    assert "better: HyPe" in printed(large, 140)


def test_the_numbers_survive_an_old_code_page(large: Report, small: Report) -> None:
    for each in (large, small):
        numbers_only = "".join(cell for column in arm_columns(each) for cell in column.cells)
        assert "–" in numbers_only
        assert not {"−", "–"} & set(printed(each, 80))
