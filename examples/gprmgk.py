"""Select alkanes without a label, look their densities up, and predict the others with intervals.

Run: python examples/gprmgk.py
The densities are measured ones that the package chemicals brings, so nothing is downloaded.
"""

from __future__ import annotations

import numpy as np

from modicum.molecules import ActiveLearner, MarginalizedGraphKernel
from modicum.molecules.data.published import experimental_labels
from modicum.molecules.predict.gp import GaussianProcess
from modicum.molecules.predict.scores import score


def main() -> None:
    labels = experimental_labels("density")
    pool = labels.molecules
    kernel = MarginalizedGraphKernel.published()

    # 1. Which molecules must be measured? No density is looked at here.
    selection = ActiveLearner(kernel, pool).run(stop_uncertainty=0.7)
    print(f"{len(selection.picks)} of {len(pool)} liquid alkanes cover the others:")
    print("  " + ", ".join(selection.smiles[:8]) + ", ...")

    # 2. Learn from those, predict the rest.
    chosen = frozenset(selection.smiles)
    process = GaussianProcess(kernel).fit(labels.of(chosen))
    rest = labels.of(frozenset(pool) - chosen)
    mean, std = process.predict(rest.smiles, rest.temperature, return_std=True)
    inside = np.abs(mean - rest.value) < 1.96 * std
    result = score(mean, rest.value)
    print(f"{len(rest)} others: R2 {result.r2:.3f}, mean absolute error {result.mae:.1f} kg/m3")
    print(f"{inside.mean():.0%} of them lie within the 95 % intervals")


if __name__ == "__main__":
    main()
