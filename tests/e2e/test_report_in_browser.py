"""The page of a report, as a reader meets it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any, Literal

import pytest
from selenium.webdriver import Chrome

pytestmark = pytest.mark.browser

# Contrast of every visible text with what lies behind it, by the formula of WCAG 2.2.
CONTRASTS = """
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
function rgba(colour) {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
}
function luminance(colour) {
  const linear = c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const [r, g, b] = colour.slice(0, 3).map(c => linear(c / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function behind(element) {
  for (let e = element; e; e = e.parentElement) {
    const colour = rgba(getComputedStyle(e).backgroundColor);
    if (colour[3] === 255) return colour;
  }
  throw new Error("nothing opaque lies behind a text");
}
document.querySelectorAll("details").forEach(e => e.open = true);
const found = [];
for (const element of document.querySelectorAll("body *")) {
  if (["title", "desc"].includes(element.tagName)) continue;
  const text = [...element.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join("");
  if (!text || !element.getClientRects().length) continue;
  const look = getComputedStyle(element);
  const ink = luminance(rgba(element.closest("svg") ? look.fill : look.color)), paper = luminance(behind(element));
  const kinds = {svg: "figure", ".badge": "badge", table: "table", body: "body"};
  found.push({
    kind: kinds[Object.keys(kinds).find(selector => element.closest(selector))],
    text: text,
    contrast: (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05),
  });
}
return {found: found, paper: luminance(behind(document.body))};
"""


def opened(browser: Chrome, page: Path, *, width: int, scheme: Literal["light", "dark"] = "light") -> Chrome:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.as_uri())
    return browser


def ask(browser: Chrome, script: str) -> Any:
    return browser.execute_script(script)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_every_text_is_legible_in_light_and_dark(
    browser: Chrome, report_page: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    answer = ask(opened(browser, report_page, width=width, scheme=scheme), CONTRASTS)
    assert (answer["paper"] < 0.5) == (scheme == "dark")
    assert {each["kind"] for each in answer["found"]} == {"body", "table", "badge", "figure"}
    assert [each for each in answer["found"] if each["contrast"] < 4.5] == []


@pytest.mark.parametrize("width", [320, 360, 768, 1200])
def test_the_document_does_not_scroll_sideways(browser: Chrome, report_page: Path, width: int) -> None:
    opened(browser, report_page, width=width)
    ask(browser, "document.querySelectorAll('details').forEach(e => e.open = true)")
    assert ask(browser, "return document.documentElement.scrollWidth") == width


def test_on_a_phone_verdict_and_interval_are_in_sight(browser: Chrome, report_page: Path) -> None:
    opened(browser, report_page, width=390)
    cells = "[...document.querySelectorAll('.stack td')]"
    assert {"verdict", "95 % interval", "corrected p", "peak memory"} <= set(
        ask(browser, f"return {cells}.map(e => e.dataset.label)")
    )
    sight = (
        "e => e.getBoundingClientRect().left >= 0 && e.getBoundingClientRect().right <= innerWidth && e.offsetHeight"
    )
    assert ask(browser, f"return {cells}.every({sight})")
    assert ask(browser, "return [...document.querySelectorAll('.stack')].every(e => e.scrollWidth <= e.clientWidth)")


def test_a_wide_table_scrolls_in_its_own_container_and_by_keyboard(browser: Chrome, report_page: Path) -> None:
    opened(browser, report_page, width=840)  # just too wide for rows as cards
    wide = "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth)"
    assert ask(browser, f"return {wide}.length") >= 3
    assert ask(browser, f"return {wide}.every(e => e.tabIndex === 0 && getComputedStyle(e).overflowX === 'auto')")


def test_the_page_opens_silently_and_fetches_nothing(browser: Chrome, report_page: Path) -> None:
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    opened(browser, report_page, width=1200)
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert {address for address in asked if not address.startswith("data:")} == {report_page.as_uri()}


def test_headings_leave_no_gap(browser: Chrome, report_page: Path) -> None:
    opened(browser, report_page, width=1200)
    levels = ask(browser, "return [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(e => Number(e.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))


def test_every_figure_has_an_alternative_in_the_accessibility_tree(browser: Chrome, report_page: Path) -> None:
    opened(browser, report_page, width=1200)
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    images = [node for node in nodes if node["role"]["value"] in {"image", "img"} and not node["ignored"]]
    assert len(images) == 2 * 3
    assert all("better" in node["name"]["value"] for node in images)
    assert all("plain fine-tuning" in node["description"]["value"] for node in images)


def test_the_cards_of_a_phone_are_still_a_table_to_a_screen_reader(browser: Chrome, report_page: Path) -> None:
    opened(browser, report_page, width=360)
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    by_id = {node["nodeId"]: node for node in nodes}
    table = next(node for node in nodes if node["role"]["value"] == "table")
    stack, roles = [table], []
    while stack:
        node = stack.pop()
        roles.append(node["role"]["value"])
        stack += [by_id[child] for child in node.get("childIds", ())]
    assert roles.count("row") == 1 + 4 * 3
    assert roles.count("rowheader") == 4 * 3
    assert roles.count("columnheader") == 5


@pytest.mark.parametrize("width", [360, 1200])
def test_texts_of_a_figure_overlap_nowhere_and_stay_inside(browser: Chrome, report_page: Path, width: int) -> None:
    opened(browser, report_page, width=width)
    overlaps = ask(
        browser,
        """
        const bad = [];
        for (const svg of document.querySelectorAll("svg")) {
          const frame = svg.getBoundingClientRect();
          const boxes = [...svg.querySelectorAll("text")].map(t => [t.textContent, t.getBoundingClientRect()]);
          for (const [text, a] of boxes) {
            // A box is as high as the line, which is more than the letters: a unit of it may be shared.
            if (a.left < frame.left - 1 || a.right > frame.right + 1 || a.bottom > frame.bottom + 4) bad.push(text);
            for (const [other, b] of boxes)
              if (text < other && Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
                  && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3) bad.push(text + " / " + other);
          }
        }
        return bad;
        """,
    )
    assert overlaps == []


def test_the_skip_link_appears_on_the_first_tab_and_leads_to_the_results(browser: Chrome, report_page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    opened(browser, report_page, width=1200)
    browser.switch_to.active_element.send_keys(Keys.TAB)
    link = browser.switch_to.active_element
    assert link.text == "Skip to the results"
    assert ask(browser, "return document.activeElement.getBoundingClientRect().left >= 0")
    link.send_keys(Keys.ENTER)
    assert ask(browser, "return document.activeElement.id") == "main"
