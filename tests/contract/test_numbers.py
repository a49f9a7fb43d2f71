"""Every number of the pages stands in an evidence file, or is named in docs/numbers.json with where it comes from."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EVIDENCE = ROOT / "evidence"
ELSEWHERE: dict[str, dict[str, list[str]]] = json.loads((DOCS / "numbers.json").read_text(encoding="utf-8"))
PAGES = ["README", *sorted(path.stem for path in DOCS.glob("*.md"))]
# Decimals of two digits or more that are not part of a name, a version or an address.
DECIMAL = re.compile(r"(?<![\w.:/])(?P<number>\d*\.\d+)(?![\w.]*\d)")
SCALES = (1.0, 100.0, 1000.0, 1e-3, 1e-6)  # shares as percent, seconds as milliseconds, bytes as MB


def numbers_in(found: Any) -> Iterator[float]:
    """Give the numbers of a JSON document, and their means over entries that differ in nothing but numbers."""
    if isinstance(found, bool) or found is None or isinstance(found, str):
        return
    if isinstance(found, int | float):
        yield float(found)
    elif isinstance(found, dict):
        for name, value in found.items():
            if name != "items":  # scores of single test items, of which there is one for nearly any number
                yield from numbers_in(value)
    else:
        alike: dict[str, list[list[float]]] = defaultdict(list)
        for entry in found:
            own = list(numbers_in(entry))
            yield from own
            if isinstance(entry, dict):
                words = {name: value for name, value in entry.items() if isinstance(value, str | bool)}
                alike[f"{sorted(words.items())} {len(own)}"].append(own)
        for entries in alike.values():
            if len(entries) > 1:
                yield from np.mean(entries, axis=0).tolist()


@cache
def evidence(name: str) -> np.ndarray:
    """Give the sizes of the numbers of an evidence file."""
    return np.abs(np.fromiter(numbers_in(json.loads((EVIDENCE / f"{name}.json").read_bytes())), float))


def stands_in(text: str, known: np.ndarray) -> bool:
    """Say whether a number is one of those that are known, as it is printed."""
    half = 0.5001 * 10.0 ** -len(text.partition(".")[2])
    return any(bool((np.abs(known * scale - float(text)) <= half).any()) for scale in SCALES)


def prose(page: str) -> list[str]:
    """Give the lines of a page without code."""
    path = ROOT / "README.md" if page == "README" else DOCS / f"{page}.md"
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"```.*?```", lambda code: "\n" * code[0].count("\n"), text, flags=re.DOTALL)
    return text.splitlines()


def decimals(line: str) -> list[str]:
    """Give the decimals of a line that have two digits or more."""
    found = [match["number"] for match in DECIMAL.finditer(re.sub(r"`[^`]*`|arXiv[: ][\d.]+", "", line))]
    return [number for number in found if len(number.replace(".", "").strip("0")) > 1]


@pytest.mark.parametrize("page", PAGES)
def test_every_number_of_a_page_has_a_file_or_a_source(page: str) -> None:
    files = [path.stem for path in EVIDENCE.glob("*.json")]
    own = [name for name in files if page in {name.partition("-")[0], "README", "index"}]
    own += ["intervals", "intervals-items"] if page == "comparisons" else []
    known = np.concatenate([evidence(name) for name in own]) if own else np.zeros(0)
    sources = {number for numbers in ELSEWHERE.get(page, {}).values() for number in numbers}
    strange: list[str] = []
    used: set[str] = set()
    for place, line in enumerate(prose(page), start=1):
        # A row that names its files has its numbers there, and not in those of another row.
        named = re.search(r"evidence/make\.py ([\w -]+)`", line) if line.startswith("|") else None
        made = [name for name in named[1].split() if name in files] if named else []
        among = np.concatenate([evidence(name) for name in made]) if made else known
        for number in decimals(line):
            if number in sources:
                used.add(number)
            elif not stands_in(number, among):
                strange.append(f"line {place}: {number}")
    assert not strange, f"{page} has numbers without a file: {', '.join(strange)}"
    assert used == sources, f"docs/numbers.json names numbers that {page} has no more: {sorted(sources - used)}"


def test_sources_are_of_pages_that_exist() -> None:
    assert set(ELSEWHERE) <= set(PAGES)
    assert all(source.strip() and numbers for page in ELSEWHERE.values() for source, numbers in page.items())


def test_a_number_without_a_file_is_found() -> None:
    known = np.array([0.12345, 17.0])
    assert stands_in(".123", known)
    assert stands_in("12.3", known)
    assert not stands_in("0.124", known)
    assert decimals("| .25 | 0.5 | 1,447 | arXiv:2212.09921 | `3.14` | −.024 to 1.75x | v1.2.3 |") == [
        ".25",
        ".024",
        "1.75",
    ]
