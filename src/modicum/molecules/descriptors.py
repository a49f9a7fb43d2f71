"""The 200 normalised RDKit descriptors that the published networks read beside the molecule."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from modicum.core.extras import require
from modicum.molecules.smiles import in_own_order, read_molecule
from modicum.molecules.table import FloatArray

DESCRIPTORS = 200

_CACHED = 20_000  # ours: molecules whose descriptors are kept, 1.6 kB each; one takes about 5 ms


def describe(molecules: Sequence[str]) -> FloatArray:
    """Compute ``rdkit_2d_normalized`` as version 1 of chemprop did."""
    # The descriptors are chemprop's ``v1_rdkit_2d``; each is then replaced by its cumulative share in descriptastorus'
    # reference population, all molecules of a column at once: the same numbers as ``v1_rdkit_2d_normalized`` to the
    # last bit, in a fifth of the time.
    raw = np.array([_raw(smiles) for smiles in molecules], dtype=float).reshape(len(molecules), DESCRIPTORS)
    from descriptastorus.descriptors.rdNormalizedDescriptors import cdfs

    names = [name for name, _ in _featurizer().generator.columns]
    shares = [cdfs[name](raw[:, place]) if name in cdfs else np.zeros(len(raw)) for place, name in enumerate(names)]
    return np.nan_to_num(np.column_stack(shares))


@functools.lru_cache(maxsize=_CACHED)
def _raw(smiles: str) -> FloatArray:
    return np.asarray(_featurizer()(in_own_order(read_molecule(smiles))), dtype=float)


@functools.cache
def _featurizer():
    require("chemprop", extra="molecules", purpose="Describing molecules for the D-MPNN")
    from chemprop.featurizers.molecule import V1RDKit2DFeaturizer

    return V1RDKit2DFeaturizer()
