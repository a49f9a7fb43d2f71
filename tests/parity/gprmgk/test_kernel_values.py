"""Values of the specification (gprmgk.md, section 7), computed there by a dense solve or by conjugate gradients."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.molecules.dense import dense_kernel

from modicum.core import catalogue
from modicum.molecules.kernel.marginalized import MarginalizedGraphKernel

pytestmark = pytest.mark.data("alkanes")

BUTANE, ISOBUTANE = "CCCC", "CC(C)C"
# The specification gives these to about 1e-7 of their own solver; the last digits of ours are those of a dense solve.
OWN = {
    "CC(C)(C)C": 865.485124,
    "CCCCC": 105.248894,
    "CCC(C)C": 95.931477,
    "CCCCCC": 136.277467,
    "CCC(C)CC": 120.403754,
    "CCC(C)(C)C": 162.899896,
    "CCCC(C)C": 109.471240,
    "CC(C)C(C)C": 177.406029,
    "CCCCCCC": 215.999058,
    "CCCCC(C)C": 147.152901,
}
# Large branched molecules: (one, other, K of both, K of each with itself).
CROSS = [
    ("C(C(C)(C)C)(CCC)(C)C", "C(CC(C)CCC)(C(C)C(C)C)(C(C)CC)CCC", 366.0093582, (313.966020, 863.728515)),
    (
        "C(C(C)CCC(C)CCC)(C(C)(C)CC(C)C)(C)C",
        "C(C(C)(C)CC)(C(C)(C)CC)(C(C)(C)C)C(C)(C)C",
        863.2632458,
        (898.574303, 1400.546915),
    ),
]


def published(**settings: object) -> MarginalizedGraphKernel:
    path = catalogue.fetch("alkanes") / "data" / "tMGR.json"
    return MarginalizedGraphKernel.from_json(path, **settings)  # type: ignore[arg-type]


def test_butanes_have_the_values_of_the_hand_calculation() -> None:  # GPRMGK-G4
    expected = [[72.9198071398, 30.3463038787], [30.3463038787, 510.9228878823]]
    np.testing.assert_allclose(published(normalize=False)([BUTANE, ISOBUTANE]), expected, rtol=1e-8)
    raw = published(normalize=False, tolerance=1e-13)
    # Isobutane with itself has three kinds of pairs, which gives a closed form: 510.922888227937. The value of the
    # specification, 510.9228878823, differs from it by 7e-10.
    closed = 10 / (1 - 0.9801) + 6 * 0.9**5 / (1 - 0.9801 * 0.9**5)
    np.testing.assert_allclose(raw.diag([ISOBUTANE]), closed, rtol=1e-13)
    np.testing.assert_allclose(raw([BUTANE], [BUTANE, ISOBUTANE]), expected[:1], rtol=2e-12)
    np.testing.assert_allclose(published()([ISOBUTANE], [BUTANE]), 7.3233e-10, rtol=1e-4)
    cosine = raw([ISOBUTANE], [BUTANE]) / np.sqrt(raw.diag([ISOBUTANE]) * raw.diag([BUTANE]))
    np.testing.assert_allclose(cosine, 0.1572191223, rtol=1e-9)


def test_the_label_without_its_fall_back_would_give_another_value() -> None:  # GPRMGK-G4
    # Were both CH2 of butane labelled alike, K would be this; our own dense solve agrees with ours, not with it.
    raw = published(normalize=False)
    assert abs(raw.diag([BUTANE])[0] - 82.9717336907) > 10
    np.testing.assert_allclose(raw.diag([BUTANE])[0], dense_kernel(raw, BUTANE, BUTANE), rtol=1e-10)


def test_small_alkanes_have_the_values_of_the_specification() -> None:  # GPRMGK-G5
    raw = published(normalize=False, tolerance=1e-11)
    own = raw.diag([*OWN])
    np.testing.assert_allclose(own, [*OWN.values()], rtol=1e-6)
    np.testing.assert_allclose(own, [dense_kernel(raw, smiles, smiles) for smiles in OWN], rtol=1e-9)


@pytest.mark.parametrize(("one", "other", "both", "own"), CROSS)
def test_large_alkanes_have_the_values_of_the_specification(
    one: str, other: str, both: float, own: tuple[float, float]
) -> None:  # GPRMGK-G6
    raw = published(normalize=False)
    np.testing.assert_allclose(raw([one], [other]), both, rtol=1e-8)
    np.testing.assert_allclose(raw.diag([one, other]), own, rtol=1e-6)
    np.testing.assert_allclose(raw([one], [other]), dense_kernel(raw, one, other), rtol=1e-8)
