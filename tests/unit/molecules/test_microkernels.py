from __future__ import annotations

import math

import numpy as np
import pytest

from modicum.errors import ConfigError
from modicum.molecules.kernel.microkernels import (
    Composite,
    Constant,
    Convolution,
    KroneckerDelta,
    Microkernel,
    SquareExponential,
)

LISTS = [(6,), (6, 6), (6, 8), (7, 8, 8)]


def test_the_convolution_is_the_mean_over_all_pairs() -> None:
    table = Convolution(KroneckerDelta(0.4)).table(LISTS, LISTS)
    # (6, 8) with (7, 8, 8): two of six pairs are equal.
    assert table[2, 3] == pytest.approx((2 * 1 + 4 * 0.4) / 6)
    assert table[0, 1] == 1
    assert table[1, 3] == pytest.approx(0.4)
    np.testing.assert_array_equal(table, table.T)


def test_the_square_exponential_is_its_formula() -> None:
    table = SquareExponential(2.0).table([0.0, 3.0], [1])
    np.testing.assert_allclose(table, [[math.exp(-1 / 8)], [math.exp(-4 / 8)]])


@pytest.mark.parametrize(
    ("kernel", "values"),
    [
        (KroneckerDelta(0.4), [1, 2, 3]),
        (SquareExponential(1.3), [0.0, 0.5, 2.0]),
        (Convolution(KroneckerDelta(0.4)), LISTS),
        (Convolution(SquareExponential(0.7)), LISTS),
        (Constant(0.3), [1, 2]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_slopes_equal_differences_and_tables_are_positive(kernel: Microkernel, values: list) -> None:
    step = 1e-6
    above, below = (kernel.with_value(kernel.value + sign * step).table(values, values) for sign in (1, -1))
    np.testing.assert_allclose(kernel.slope(values, values), (above - below) / (2 * step), atol=1e-9)
    assert np.linalg.eigvalsh(kernel.table(values, values)).min() > -1e-12


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KroneckerDelta(1.1), r"h of KroneckerDelta must be in \[0, 1\], got 1.1"),
        (lambda: KroneckerDelta(math.nan), "got nan"),
        (lambda: SquareExponential(0.0), "must be > 0, got 0"),
        (lambda: Constant(-1.0), "must be >= 0, got -1.0"),
        (lambda: KroneckerDelta(0.5, (0.0, 1.0)), r"bounds of the h of KroneckerDelta must be 0 < low <= high"),
        (lambda: Composite({}), "needs a part, got none"),
        (lambda: Composite({"Order": Constant(1.0)}, "mean"), "There is no rule 'mean'"),  # type: ignore[arg-type]
        (lambda: Convolution(KroneckerDelta(0.5)).table([6], [6]), "Convolution takes lists with elements, got 6"),
    ],
)
def test_numbers_out_of_range_are_named(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
