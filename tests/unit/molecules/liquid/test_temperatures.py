from __future__ import annotations

import numpy as np
import pytest

from modicum.errors import SimulationError
from modicum.molecules.liquid.labeller import critical_temperature, temperature_grid


def test_the_grid_is_the_published_one() -> None:
    grid = temperature_grid(507.82)
    assert (len(grid), grid[0], grid[-1]) == (16, 203.0, 457.0)
    np.testing.assert_allclose(np.diff(grid), 254 / 15)


def test_a_short_range_has_fewer_points_at_least_5_kelvin_apart() -> None:
    grid = temperature_grid(100.0)  # 40 to 90 K
    assert len(grid) == 11
    assert min(np.diff(grid)) >= 5.0


def test_critical_temperatures_come_from_chemicals_or_from_the_chain() -> None:
    assert critical_temperature("C(CCCC)C") == pytest.approx(507.6, abs=1)  # n-hexane, CRC
    assert critical_temperature("CC(C)(C)C(C)(C)C") == pytest.approx(567.8, abs=1)  # IUPAC
    unknown = "CCC(C)(C)C(C)(CC)C(C)CC"  # a tridecane that the package does not know
    assert critical_temperature(unknown) == critical_temperature("C" * 13)


def test_what_nobody_knows_is_said() -> None:
    with pytest.raises(SimulationError, match=r"critical temperature of C{90} is not in the package"):
        critical_temperature("C" * 90)
