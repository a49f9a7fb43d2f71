"""Fewer temperatures a molecule: labels are smooth in T, and a dense Gaussian process is cubic in rows."""

from __future__ import annotations

import numpy as np

from modicum.core.seeding import numpy_generator
from modicum.errors import ConfigError
from modicum.molecules.regression import IntArray
from modicum.molecules.table import FloatArray, PropertyTable

# Ours: what the search for hyper-parameters sees; a step of it takes about a second on one core.
_SEARCH_TEMPERATURES, _SEARCH_ROWS = 4, 1_300


def thin(table: PropertyTable, temperatures: int) -> PropertyTable:
    """Keep some temperatures of each molecule, evenly spread over those that it has, the ends included."""
    if temperatures < 2:
        raise ConfigError(f"At least 2 temperatures must be kept, got {temperatures}.", hint="Four are plenty.")
    names = {smiles: place for place, smiles in enumerate(table.molecules)}
    rows = _spread(np.array([names[smiles] for smiles in table.smiles]), table.temperature, temperatures)
    return table.take(rows.tolist())


def _spread(molecule: IntArray, temperature: FloatArray, count: int) -> IntArray:
    kept: list[IntArray] = []
    for place in np.unique(molecule):
        rows = np.flatnonzero(molecule == place)
        rows = rows[np.argsort(temperature[rows], kind="stable")]
        kept.append(rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))])
    return np.sort(np.concatenate(kept))


def search_rows(molecule: IntArray, temperature: FloatArray, seed: int) -> IntArray:
    """Choose the rows that the search for hyper-parameters sees: four temperatures of at most 325 molecules or so."""
    rows = _spread(molecule, temperature, _SEARCH_TEMPERATURES)
    if len(rows) <= _SEARCH_ROWS:
        return rows
    shuffled = numpy_generator(seed, "search").permutation(np.unique(molecule))
    count = np.cumsum(np.bincount(molecule[rows])[shuffled])
    return rows[np.isin(molecule[rows], shuffled[count <= _SEARCH_ROWS])]
