"""The temperatures at which a liquid is simulated."""

from __future__ import annotations

from typing import Any

import numpy as np

from modicum.core.extras import require
from modicum.errors import SimulationError
from modicum.molecules.smiles import canonical

POINTS = 16
LEAST_SPACING = 5.0  # K


def temperature_grid(critical: float) -> tuple[float, ...]:
    """Give the temperatures between 0.4 and 0.9 of the critical one."""
    low, high = int(0.4 * critical), int(0.9 * critical)
    points = min(POINTS, int((high - low) / LEAST_SPACING) + 1)
    return tuple(float(temperature) for temperature in np.linspace(low, high, points))


def critical_temperature(smiles: str) -> float:
    """Look the critical temperature of an alkane up in the package ``chemicals``."""
    # Of a molecule that it does not know, that of the unbranched alkane of the same size is given. Branching changes it
    # by a few per cent, which moves the grid and nothing else. The official code predicts it with a neural network.
    chemicals: Any = require("chemicals", extra="molecules", purpose="Looking up critical temperatures")
    written = canonical(smiles)
    known = _look_up(chemicals, written) or _look_up(chemicals, "C" * written.count("C"))
    if known is None:
        raise SimulationError(
            f"no temperatures: the critical temperature of {smiles} is not in the package chemicals.",
            hint="Give it as critical_temperature, or give temperatures.",
        )
    return known


def _look_up(chemicals: Any, smiles: str) -> float | None:
    try:
        number = chemicals.CAS_from_any(f"SMILES={smiles}")
    except ValueError:  # how the package says that it does not know a molecule
        return None
    return chemicals.critical.Tc(number)
