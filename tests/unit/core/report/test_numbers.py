from __future__ import annotations

import pytest

from modicum.core.method import Metric
from modicum.core.report import numbers

ACCURACY = Metric(name="accuracy", unit="%", digits=1)


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (0.0, "0 s"),
        (0.0042, "4.2 ms"),
        (0.042, "42 ms"),
        (0.0994, "99 ms"),
        (0.0996, "0.10 s"),
        (0.42, "0.42 s"),
        (0.996, "1.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (12.3, "12 s"),
        (59.6, "1 min 0 s"),
        (185.0, "3 min 5 s"),
        (3599.6, "1 h 0 min"),
        (7800.0, "2 h 10 min"),
    ],
)
def test_a_duration_carries_into_the_next_unit(value: float, printed: str) -> None:
    assert numbers.seconds(value) == printed


@pytest.mark.parametrize(
    ("p", "printed"),
    [
        (None, "one seed"),
        (0.25, "p = 0.25"),
        (1.0, "p = 1"),
        (0.0625, "p = 0.0625"),
        (0.34375, "p = 0.344"),
        (0.001953125, "p = 0.002"),
        (0.001, "p = 0.001"),
        (0.00099, "p < 0.001"),
    ],
)
def test_a_p_value_is_never_printed_as_zero(p: float | None, printed: str) -> None:
    assert numbers.p_value(p) == printed


def test_a_value_has_the_digits_and_the_unit_of_its_metric() -> None:
    assert numbers.quantity(91.25, ACCURACY) == "91.2 %"
    assert numbers.quantity(1234567.0, Metric(name="labels", digits=0)) == "1,234,567"


def test_a_rounded_zero_has_no_minus_as_a_value_and_keeps_it_as_a_difference() -> None:
    assert numbers.plain(-0.0001, 3) == "0.000"
    assert numbers.signed(-0.0001, 3) == "−0.000"
    assert numbers.signed(0.0, 3) == "0.000"


def test_a_difference_of_percentages_is_in_points() -> None:
    assert numbers.change(-1.5, ACCURACY) == "−1.5 points"
    assert numbers.change(1.5, Metric(name="loss", digits=2)) == "+1.50"


def test_an_interval_names_both_ends_with_their_signs() -> None:
    assert numbers.interval(-0.0034, 0.021, 3) == "−0.003 to +0.021"
    assert numbers.interval(None, None, 3) == "one seed"


def test_a_single_seed_has_no_deviation() -> None:
    assert numbers.spread(0.9124, None, 3) == "0.912"
    assert numbers.spread(0.9124, 0.0041, 3) == "0.912 ± 0.004"


@pytest.mark.parametrize(("value", "printed"), [(1.0, "0.50 ×"), (30.0, "15 ×"), (19.995, "10 ×")])
def test_a_cost_is_a_multiple_of_the_baseline(value: float, printed: str) -> None:
    assert numbers.ratio(value, 2.0) == printed


def test_a_baseline_without_cost_gives_no_multiple() -> None:
    assert numbers.ratio(1.0, 0.0) == numbers.ABSENT


def test_memory_is_in_mebibytes() -> None:
    assert numbers.memory(12345.6) == "12,346 MiB"
