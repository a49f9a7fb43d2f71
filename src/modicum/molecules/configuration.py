"""The settings of the comparison, and the files that a folder of a model holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from modicum.core.method import Budget
from modicum.core.settings import Help

GP_FILE, DMPNN_FILE = "gp.npz", "dmpnn.pt"


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonSettings:
    """What ``modicum compare gprmgk`` can change, the same for all arms."""

    quantity: Annotated[
        str, Help("density (kg/m3), hvap (kJ/mol), cp (J/mol/K), or with --data any of its columns")
    ] = "density"
    labels: Annotated[int, Help("molecules to label; 0 with the published sets, which have 313, 301 and 308"), Ge(0)]
    predictor: Annotated[
        Literal["gp", "dmpnn"], Help("gp (the Gaussian process) or dmpnn (the network of the paper)")
    ] = "gp"
    networks: Annotated[int, Help("networks a draw, whose scores are averaged; with gp there are none"), Ge(1)]
    epochs: Annotated[int, Help("of the network"), Ge(0)] = 100
    test: Annotated[
        Literal["simulation", "experiment"],
        Help("simulation (the published 2,988 molecules) or experiment (measured alkanes)"),
    ]


COMPARISON: Mapping[Budget, ComparisonSettings] = {
    "demo": ComparisonSettings(labels=15, networks=1, test="experiment"),
    "full": ComparisonSettings(labels=0, networks=3, test="simulation"),
}
