# pyright: reportUnknownMemberType=false
# matplotlib's annotations leave its keyword arguments open.
"""From a matplotlib figure to an SVG that belongs to the page around it: its font, its colours, its words."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from modicum.core.method import Role

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# matplotlib knows no CSS. It draws in colours that nobody would choose, and they are exchanged in the text.
INK, MUTED, RULE, PAPER = "#000001", "#000002", "#000003", "#000004"
MARKS: dict[Role, tuple[str, str]] = {
    "baseline": ("s", "#000005"),
    "method": ("o", "#000006"),
    "control": ("D", "#000007"),
}
_CSS = {
    INK: "currentColor",
    MUTED: "var(--muted, currentColor)",
    RULE: "var(--rule, #8a857c)",
    PAPER: "var(--paper, #ffffff)",
    "#000005": "var(--baseline, #5a5750)",
    "#000006": "var(--method, #0b57a4)",
    "#000007": "var(--control, #94420a)",
}
_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_FONT_FAMILY = re.compile(r"font-family: [^;]*;?\s*")


def draw(figure: Callable[[], Figure], *, title: str, description: str, salt: str) -> str:
    """Draw a figure as the text of an SVG element that can stand in an HTML page."""
    from matplotlib import style

    buffer = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": salt, "font.size": 11}
    with style.context(settings, after_reset=True), warnings.catch_warnings():
        # The reader's browser sets the text: that matplotlib's own font lacks a letter does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure().savefig(
            buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    return _for_page(buffer.getvalue(), title=title, description=description)


def _for_page(drawn: str, *, title: str, description: str) -> str:
    # The text comes from matplotlib, a line above: it is no untrusted document.
    root = ElementTree.fromstring(drawn)  # noqa: S314
    for parent in list(root.iter()):
        for style_element in parent.findall(f"{_SVG}style"):
            parent.remove(style_element)
    for element in root.iter():
        # Without prefixes, because HTML knows none.
        element.tag = element.tag.removeprefix(_SVG)
        if reference := element.attrib.pop(_HREF, None):
            element.set("href", reference)
        if element.tag == "g":
            element.attrib.pop("id", None)
        if look := element.get("style"):
            element.set("style", _themed(look))
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("xmlns", _SVG.strip("{}"))
    root.set("role", "img")
    root.set("stroke-linejoin", "round")
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        words = ElementTree.Element(tag)
        words.text = text
        root.insert(place, words)
    return ElementTree.tostring(root, encoding="unicode")


def _themed(look: str) -> str:
    look = _FONT_FAMILY.sub("", look)
    for colour, css in _CSS.items():
        look = look.replace(colour, css)
    return look
