from __future__ import annotations

import re

from modicum.core.report import Report, markdown


def grids(text: str) -> list[list[list[str]]]:
    """Read the tables of a text, split at the pipes that are not escaped."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE)
    return [[re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines()] for block in blocks]


def test_every_row_of_every_table_has_as_many_cells_as_its_heading(report: Report) -> None:
    for grid in grids(markdown([report])):
        assert {len(row) for row in grid} == {len(grid[0])}
        assert all(re.fullmatch(r" -{3}:? ", cell) for cell in grid[1])


def test_the_summary_and_the_arms_are_tables_with_a_row_each(large: Report, small: Report) -> None:
    summary, arms, controls, seeds, *_ = grids(markdown([large, small]))
    assert len(summary) == 2 + 3
    assert [row[0].strip() for row in arms[2:]] == [arm.name for arm in large.arms]
    assert len(controls) == 2 + 4
    assert [cell.strip() for cell in seeds[3][1:]] == ["0.400", "0.430", "0.370", "0.420", "0.380"]


def test_numbers_are_aligned_at_their_right(small: Report) -> None:
    _, arms, *_ = grids(markdown([small]))
    assert arms[1][:3] == [" --- ", " ---: ", " ---: "]


def test_names_cannot_break_out_of_a_cell_or_become_html(hostile: Report) -> None:
    text = markdown([hostile])
    assert "\\<script\\>alert('x')\\</script\\>" in text
    assert r"a \| b \`c\` \*d\* \$e\$ \[f\](g) \\ \_h\_" in text
    assert not re.search(r"(?<!\\)<", text)


def test_underscores_inside_a_word_stay_readable(large: Report) -> None:
    assert "- Option learning_rate: 2e-5" in markdown([large])


def test_a_command_with_backticks_stays_in_its_fence(small: Report) -> None:
    from dataclasses import replace

    command = "modicum compare nsgd --option note='```'"
    text = markdown([replace(small, environment=replace(small.environment, command=command))])
    assert f"````sh\n{command}\n````\n" in text


def test_the_report_says_what_it_was_made_from(large: Report) -> None:
    text = markdown([large])
    for said in ("Budget: full", "Data: a hundred sentences", "torch 2.13.0", "Commit: abc1234", "doi:10.1234/abc.def"):
        assert said in text
