from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import KernelPCA

from modicum.errors import ConfigError
from modicum.molecules.data.alkanes import enumerate_alkanes
from modicum.molecules.data.table import PROPERTIES
from modicum.molecules.kernel.marginalized import MarginalizedGraphKernel
from modicum.molecules.plots import draw_calibration, draw_parity, project

KERNEL = MarginalizedGraphKernel.published()


def test_the_plane_is_that_of_kernel_principal_components() -> None:
    molecules = [*enumerate_alkanes(5, 7)]
    selected, others = molecules[:9], molecules[9:]
    reference = KernelPCA(2, kernel="precomputed").fit(KERNEL(selected))
    for shown in (selected, others):
        expected = reference.transform(KERNEL(shown, selected))
        found = project(KERNEL, selected, shown)
        signs = np.sign((found * expected).sum(axis=0))
        np.testing.assert_allclose(found * signs, expected, atol=1e-9)


def test_a_picture_is_whole_or_not_there(tmp_path: Path) -> None:
    numbers = np.linspace(0, 1, 5)
    draw_parity(tmp_path / "parity.png", numbers, numbers + 0.1, quantity=PROPERTIES["density"], note="R2 = 0.9")
    draw_calibration(tmp_path / "calibration.svg", numbers, numbers)
    assert {path.name for path in tmp_path.iterdir()} == {"parity.png", "calibration.svg"}
    with pytest.raises(ConfigError, match=r"A picture is a .png, .svg, .pdf file, got parity.gif"):
        draw_parity(Path("parity.gif"), numbers, numbers, quantity=PROPERTIES["density"])
    with pytest.raises(ConfigError, match="cannot be written"):
        draw_calibration(tmp_path / "no" / "calibration.png", numbers, numbers)


def test_a_plane_needs_three_molecules() -> None:
    with pytest.raises(ConfigError, match="A plane needs 3 selected molecules, got 2"):
        project(KERNEL, ["CCCC", "CCCCC"], ["CCC"])
