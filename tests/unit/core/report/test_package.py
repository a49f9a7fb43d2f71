from __future__ import annotations

import subprocess
import sys


def test_importing_the_package_loads_no_renderer() -> None:
    heavy = ("matplotlib", "jinja2", "rich", "pydantic", "torch")
    program = f"import sys, modicum.core.report; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
