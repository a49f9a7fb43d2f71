"""The code in README and docs runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.e2e.in_process import run_script_here

ROOT = Path(__file__).parents[2]
BLOCKS = [
    pytest.param(block, id=f"{path.relative_to(ROOT)}-{number}")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```$", path.read_text(), re.DOTALL | re.MULTILINE))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_code_in_the_docs_runs(block: str, tmp_path: Path) -> None:
    script = tmp_path / "block.py"
    script.write_text(block)
    done = run_script_here(script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_there_is_code_to_run() -> None:
    assert len(BLOCKS) >= 3
