from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from modicum.core.report import Report, figures

pytestmark = pytest.mark.slow  # all of them together

Draw = Callable[[Report], str]


def once(figure: Draw) -> Draw:
    """Draw each report once, as long as it is there: a figure takes a third of a second."""
    drawn: dict[int, tuple[Report, str]] = {}

    @functools.wraps(figure)
    def draw(report: Report) -> str:
        if id(report) not in drawn:
            drawn[id(report)] = report, figure(report)
        return drawn[id(report)][1]

    return draw


forest, quality_against_cost = once(figures.forest), once(figures.quality_against_cost)
SVG = "{http://www.w3.org/2000/svg}"

both = pytest.mark.parametrize("figure", [forest, quality_against_cost])
both_anew = pytest.mark.parametrize("figure", [figures.forest, figures.quality_against_cost])


def texts(drawn: str) -> list[str]:
    return ["".join(each.itertext()) for each in ElementTree.fromstring(drawn).iter(f"{SVG}text")]


def said(drawn: str, tag: str) -> str:
    return ElementTree.fromstring(drawn).findtext(f"{SVG}{tag}") or ""


@both
def test_a_figure_is_an_image_with_a_title_and_a_description(figure: Callable[[Report], str], report: Report) -> None:
    root = ElementTree.fromstring(figure(report))
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert [child.tag for child in root][:2] == [f"{SVG}title", f"{SVG}desc"]
    assert report.title in said(figure(report), "title")


@both_anew
def test_the_same_report_gives_the_same_bytes(figure: Callable[[Report], str], report: Report) -> None:
    assert figure(report) == figure(report)


@both_anew
def test_the_users_matplotlib_settings_change_nothing(figure: Callable[[Report], str], large: Report) -> None:
    expected = figure(large)
    with mpl.rc_context({"axes.grid": True, "font.size": 30, "svg.fonttype": "path"}):
        assert figure(large) == expected
        assert mpl.rcParams["font.size"] == 30


@both
def test_two_reports_on_a_page_share_no_identifiers(
    figure: Callable[[Report], str], small: Report, large: Report
) -> None:
    one, other = (set(re.findall(r'id="([^"]+)"', figure(each))) for each in (small, large))
    assert one
    assert not one & other


@both
def test_colours_and_fonts_are_those_of_the_page(figure: Callable[[Report], str], large: Report) -> None:
    drawn = figure(large)
    assert "var(--method" in drawn
    assert "currentColor" in drawn
    # Of literal colours only the fallbacks inside var() are left, so dark mode reaches every stroke.
    assert not re.search(r"#[0-9a-f]{6}", re.sub(r"var\([^)]*\)", "", drawn))
    assert "font-family" not in drawn


@both
def test_nothing_in_a_figure_points_outside(figure: Callable[[Report], str], report: Report) -> None:
    drawn = figure(report)
    assert all(target.startswith("#") for target in re.findall(r'href="([^"]*)"', drawn))
    assert "<script" not in drawn
    assert "<style" not in drawn


def test_the_forest_is_described_with_every_difference(large: Report) -> None:
    description = said(forest(large), "desc")
    assert (
        "HyPe against plain fine-tuning: +0.100 (95 % interval +0.090 to +0.120, corrected p = 0.0625), better."
        in description
    )
    assert description.count(" against plain fine-tuning:") == 6


def test_the_forest_names_every_arm_its_difference_and_the_direction(large: Report) -> None:
    shown = texts(forest(large))
    for name in ("HyPe", "HyPe with the constants of the paper", "control number 4 of the sceptic", "+0.100"):
        assert name in shown
    assert "0 = plain fine-tuning, better →" in shown


def test_better_is_to_the_right_also_when_lower_is_better(large: Report) -> None:
    # The method's loss is lower by 0.1, a gain: its mark lies right of the zero line.
    drawn = ElementTree.fromstring(forest(large))
    marks = [use for use in drawn.iter(f"{SVG}use") if "var(--method" in use.get("style", "")]
    ours = max(float(mark.get("x", "0")) for mark in marks)
    zero = next(
        float(re.split(r"[ \n]", path.get("d", ""))[1])
        for path in drawn.iter(f"{SVG}path")
        if "stroke: currentColor" in path.get("style", "") and path.get("d", "").startswith("M")
    )
    assert ours > zero + 10


def test_every_seed_is_a_dot_of_the_forest(large: Report) -> None:
    drawn = forest(large)
    dots = [use for use in re.findall(r"<use [^>]*>", drawn) if "var(--muted" in use and "opacity: 0.75" in use]
    assert len(dots) == 6 * len(large.seeds)


def test_one_seed_has_no_interval_and_several_have_one_each(small: Report, large: Report) -> None:
    assert forest(small).count("stroke-width: 2.5") == 0
    assert forest(large).count("stroke-width: 2.5") == 6


def test_quality_has_a_second_panel_only_for_a_cost_of_its_own(small: Report, large: Report) -> None:
    assert [text for text in texts(quality_against_cost(large)) if "cheaper" in text] == [
        "← cheaper: median seconds a job",
        "← cheaper: labels",
    ]
    assert [text for text in texts(quality_against_cost(small)) if "cheaper" in text] == [
        "← cheaper: median seconds a job"
    ]


def test_a_reversed_axis_says_so(small: Report, large: Report) -> None:
    assert "(axis reversed: lower is better)" in texts(quality_against_cost(large))
    assert not any("reversed" in text for text in texts(quality_against_cost(small)))


def test_better_is_up_also_when_lower_is_better(large: Report) -> None:
    # The losses are 0.4 and 0.5; the y of SVG counts downwards, and the first panel lies above 240.
    uses = list(ElementTree.fromstring(quality_against_cost(large)).iter(f"{SVG}use"))
    first_panel = {
        role: [
            y for use in uses if f"fill: var(--{role}" in use.get("style", "") and (y := float(use.get("y", "0"))) < 240
        ]
        for role in ("method", "baseline")
    }
    assert len(first_panel["baseline"]) == 1
    assert len(first_panel["method"]) == 2
    assert min(first_panel["method"]) < first_panel["baseline"][0] - 20


def test_the_key_names_every_arm_in_order(large: Report) -> None:
    shown = " ".join(texts(quality_against_cost(large)))
    assert all(f"{number} {arm.name} ({arm.role})" in shown for number, arm in enumerate(large.arms, start=1))
    assert "HyPe (method): validation loss 0.400, 3 min 5 s a job, labels 200" in said(
        quality_against_cost(large), "desc"
    )


def test_roles_differ_in_shape_and_not_only_in_colour(large: Report) -> None:
    drawn = ElementTree.fromstring(quality_against_cost(large))
    shapes = {
        role: {
            path.get("d")
            for path in drawn.iter(f"{SVG}path")
            if path.get("id")
            in {
                use.get("href", "")[1:]
                for use in drawn.iter(f"{SVG}use")
                if f"fill: var(--{role}" in use.get("style", "")
            }
        }
        for role in ("baseline", "method", "control")
    }
    assert all(shapes.values())
    assert not shapes["baseline"] & shapes["method"]
    assert not shapes["method"] & shapes["control"]
    assert not shapes["baseline"] & shapes["control"]


def test_no_number_lies_on_another_or_on_a_mark(small: Report) -> None:
    arms = tuple(replace(small.arms[0], name=f"arm {place}", seconds=1 + 1e-3 * place) for place in range(10))
    drawn = quality_against_cost(replace(small, arms=arms))
    numbers = re.findall(r'<text style="[^"]*font-weight: 700[^"]*" x="(.*?)" y="(.*?)"[^>]*>\d+</text>', drawn)
    spots = [(float(x), float(y)) for x, y in numbers]
    assert len(spots) == 10
    assert all(math.dist(one, other) > 11 for one, other in itertools.combinations(spots, 2))


@both
def test_costs_and_qualities_that_are_all_equal_or_zero_still_draw(
    figure: Callable[[Report], str], small: Report
) -> None:
    flat = replace(small, arms=tuple(replace(arm, seconds=0.0, mean=0.0) for arm in small.arms))
    assert ElementTree.fromstring(figure(flat)) is not None
