"""Files that an older release wrote are read, and give what they gave then; see README.md here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.golden.reading import READERS

FOLDER = Path(__file__).parent
OUTPUTS = json.loads((FOLDER / "outputs.json").read_text())


@pytest.mark.parametrize("name", READERS)
def test_a_file_of_an_older_release_gives_what_it_gave(name: str, tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "golden", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    read, tolerance = READERS[name]
    found = json.loads(json.dumps(read(tmp_path / "golden" / name)))
    if tolerance is None:
        assert found == OUTPUTS[name]
    else:
        assert dict(_leaves(found)) == {key: _near(it, tolerance) for key, it in _leaves(OUTPUTS[name])}


def _near(value: Any, tolerance: float) -> Any:
    return pytest.approx(value, rel=tolerance, abs=tolerance) if isinstance(value, float) else value


def _leaves(content: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from _leaves(value, f"{place}/{key}")
    else:
        yield place, content
