from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser

import pytest

from modicum.core import report as reports
from modicum.core.report import Report
from modicum.core.report.words import arm_columns, control_columns, seed_columns

_pages: dict[tuple[int, ...], tuple[Sequence[Report], str]] = {}


def page(given: Sequence[Report]) -> str:
    """Write a page once: its two figures take most of the time."""
    key = tuple(map(id, given))
    if key not in _pages:
        _pages[key] = given, reports.page(given)
    return _pages[key][1]


VOID = {"meta", "link", "br", "hr", "img"}


class Reader(HTMLParser):
    """Reads a page strictly: every element that opens must close in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "title", "desc"} & set(self.open):
            self.text.append(data)

    def having(self, attribute: str) -> list[str]:
        return [attributes[attribute] or "" for _, attributes in self.elements if attribute in attributes]


def test_a_page_is_well_formed_and_its_identifiers_are_unique(report: Report) -> None:
    identifiers = Counter(Reader(page([report])).having("id"))
    assert identifiers
    assert max(identifiers.values()) == 1


def test_a_page_needs_nothing_beside_itself(report: Report) -> None:
    reader = Reader(page([report]))
    assert not reader.having("src")
    tags = {tag for tag, _ in reader.elements}
    assert not tags & {"script", "iframe", "img", "object", "embed", "base", "form"}
    assert "url(" not in page([report])
    assert "@import" not in page([report])
    for tag, attributes in reader.elements:
        target = attributes.get("href")
        if target is not None:
            assert target.startswith("#") or (tag == "a" and target.startswith("https://")) or target == "data:,"
        assert not any(name.startswith("on") for name in attributes)


def test_links_inside_the_page_lead_somewhere(large: Report, small: Report) -> None:
    reader = Reader(page([large, small]))
    inside = {target[1:] for target in reader.having("href") if target.startswith("#")}
    assert {"summary", "main", "reading", "1-hype", "2-nsgd"} <= inside
    assert inside <= set(reader.having("id"))
    assert set(reader.having("aria-labelledby")) <= set(reader.having("id"))


def test_every_arm_and_every_number_is_on_the_page(report: Report) -> None:
    text = " ".join(Reader(page([report])).text)
    for columns in (arm_columns(report), control_columns(report), seed_columns(report)):
        for column in columns:
            for cell in (column.heading, *column.cells):
                assert cell in text
    for sentence in (report.question, report.data, report.environment.command, *report.verdicts, *report.options):
        assert sentence in text


def test_names_are_escaped_wherever_they_stand(hostile: Report) -> None:
    text = page([hostile])
    assert "<script" not in text
    assert "&lt;script&gt;alert(" in text
    assert "49" not in re.findall(r"<dt>Data</dt><dd>(.*?)</dd>", text)[0]


def test_addresses_in_sources_become_links_and_nothing_else_does(large: Report, small: Report, hostile: Report) -> None:
    def outside(report: Report) -> list[str]:
        return [target for target in Reader(page([report])).having("href") if target.startswith("http")]

    assert outside(large) == ["https://doi.org/10.1234/abc.def", "https://example.org/hype?a=1&b=2"]
    assert outside(small) == ["https://arxiv.org/abs/2212.09921"]
    assert outside(hostile) == ["https://example.org/"]


def test_the_same_reports_give_the_same_bytes(report: Report) -> None:
    assert reports.page([report, report]) == reports.page([report, report])


def test_the_summary_tells_question_verdict_difference_and_cost_of_each_method(large: Report, small: Report) -> None:
    summary = page([large, small]).split('<section id="summary"')[1].split("</section>")[0]
    text = " ".join(" ".join(Reader(f"<i {summary}</i>").text).split())
    for said in (
        "Does HyPe reach a lower loss on 200 labels?",
        "▲ better",
        "+0.100 in validation loss +0.090 to +0.120, corrected p = 0.0625",
        "labels: 200, not 1,000",
        "~ no difference shown",
        "? too few seeds",
        "+1.5 points in test accuracy one value",
        "1.50 × the time",
    ):
        assert said in text


def test_no_difference_is_set_like_better(large: Report) -> None:
    verdicts = re.findall(r'<p class="verdict [a-z-]+"><strong class="badge ([a-z-]+)">', page([large]))
    assert verdicts == ["better", "no-difference-shown"]
    css = page([large]).split("<style>")[1].split("</style>")[0]
    own_looks = re.findall(r"\.badge\.[a-z-]+ \{ ([a-z-]+):", css)
    assert own_looks == ["background"] * len(own_looks)


def test_tables_have_captions_and_scopes(report: Report) -> None:
    reader = Reader(page([report]))
    tags = Counter(tag for tag, _ in reader.elements)
    assert tags["caption"] == tags["table"] >= 3
    assert all(attributes.get("scope") in {"row", "col"} for tag, attributes in reader.elements if tag == "th")


def test_a_page_has_landmarks_a_language_and_one_first_heading(small: Report) -> None:
    reader = Reader(page([small]))
    tags = Counter(tag for tag, _ in reader.elements)
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert tags[landmark] == 1
    assert ("html", {"lang": "en"}) in reader.elements


@pytest.mark.parametrize("missing", ["abc1234", None])
def test_the_machine_and_the_commit_are_told(small: Report, missing: str | None) -> None:
    from dataclasses import replace

    shown = reports.page([replace(small, environment=replace(small.environment, commit=missing))])
    assert f"<dt>Commit</dt><dd>{missing or 'unknown'}</dd>" in shown
