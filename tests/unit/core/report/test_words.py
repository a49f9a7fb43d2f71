from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from modicum.core.method import Metric
from modicum.core.report import Report, words
from modicum.core.report.words import (
    arm_columns,
    control_columns,
    exploratory_columns,
    method_rows,
    rows,
    seed_columns,
)

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
    assert words.seconds(value) == printed


@pytest.mark.parametrize(
    ("p", "printed"),
    [
        (None, "one value"),
        (0.25, "0.25"),
        (1.0, "1"),
        (0.0625, "0.0625"),
        (0.34375, "0.344"),
        (0.001953125, "0.002"),
        (0.001, "0.001"),
        (0.00099, "< 0.001"),
    ],
)
def test_a_p_value_is_never_printed_as_zero(p: float | None, printed: str) -> None:
    assert words.p_value(p) == printed


def test_a_value_has_the_digits_and_the_unit_of_its_metric() -> None:
    assert words.quantity(91.25, ACCURACY) == "91.2 %"
    assert words.quantity(1234567.0, Metric(name="labels", digits=0)) == "1,234,567"


def test_a_rounded_zero_has_no_minus_as_a_value_and_keeps_it_as_a_difference() -> None:
    assert words.plain(-0.0001, 3) == "0.000"
    assert words.signed(-0.0001, 3) == "−0.000"
    assert words.signed(0.0, 3) == "0.000"


def test_a_difference_of_percentages_is_in_points() -> None:
    assert words.change(-1.5, ACCURACY) == "−1.5 points"
    assert words.change(1.5, Metric(name="loss", digits=2)) == "+1.50"


def test_an_interval_names_both_ends_with_their_signs() -> None:
    assert words.interval(-0.0034, 0.021, 3) == "−0.003 to +0.021"
    assert words.interval(None, None, 3) == "one value"


@pytest.mark.parametrize(("value", "printed"), [(1.0, "0.50 ×"), (30.0, "15 ×"), (19.995, "10 ×")])
def test_a_cost_is_a_multiple_of_the_baseline(value: float, printed: str) -> None:
    assert words.ratio(value, 2.0) == printed


def test_a_baseline_without_cost_gives_no_multiple() -> None:
    assert words.ratio(1.0, 0.0) == words.ABSENT


def test_all_arms_are_listed_with_all_their_numbers(large: Report) -> None:
    assert [column.heading for column in arm_columns(large)] == [
        "arm",
        "validation loss",
        "difference",
        "median",
        "95 % interval",
        "corrected p",
        "verdict",
        "role",
        "time a job",
        "peak memory",
        "labels",
        "bits",
        "calibration error",
    ]
    table = list(rows(arm_columns(large)))
    assert table[0] == (
        *("plain fine-tuning", "0.500 ± 0.016", "–", "–", "–", "–", "–", "baseline"),
        *("2.0 s", "512 MiB", "1,000", "32", "0.091"),
    )
    assert table[1] == (
        *("HyPe", "0.400 ± 0.025", "+0.100", "+0.100", "+0.090 to +0.120", "0.0625", "better", "method"),
        *("3 min 5 s", "512 MiB", "200", "32", "0.082"),
    )


def test_what_an_arm_did_not_measure_is_absent_and_not_zero(large: Report) -> None:
    assert list(rows(arm_columns(large)))[2][-3:] == ("200", "–", "–")


def test_one_seed_has_neither_interval_nor_p_value(small: Report) -> None:
    assert list(rows(arm_columns(small)))[1][2:7] == ("+1.5", "+1.5", "one value", "one value", "too few seeds")


def test_controls_are_compared_apart_from_the_baseline(large: Report, small: Report) -> None:
    against = [row[1] for row in rows(control_columns(large))]
    assert against == [f"control number {number} of the sceptic" for number in range(1, 5)]
    assert list(rows(control_columns(small))) == []


def test_each_seed_has_a_column_in_the_order_of_the_report(large: Report) -> None:
    columns = seed_columns(large)
    assert [column.heading for column in columns] == ["arm", "seed 3", "seed 5", "seed 8", "seed 13", "seed 21"]
    assert list(rows(columns))[1] == ("HyPe", "0.400", "0.430", "0.370", "0.420", "0.380")


def test_each_method_arm_has_a_row(large: Report, small: Report) -> None:
    found = [row for report in (large, small) for row in method_rows(report)]
    told = [(row.arm.name, row.verdict, row.change, row.certainty) for row in found]
    assert told == [
        ("HyPe", "better", "+0.100", "+0.090 to +0.120, corrected p = 0.0625"),
        (
            "HyPe with the constants of the paper",
            "no difference shown",
            "0.000",
            "−0.010 to +0.020, corrected p = 0.0625",
        ),
        ("NSGD", "too few seeds", "+1.5 points", "one value"),
    ]


def test_the_caption_says_which_way_is_subtracted_when_lower_is_better(large: Report, small: Report) -> None:
    assert "validation loss of plain fine-tuning minus that of the arm (lower is better)" in words.how_made(large)
    assert "test accuracy of the arm minus that of tuned SGD (higher is better)" in words.how_made(small)


def test_the_caption_says_how_intervals_and_p_values_were_made(large: Report) -> None:
    said = words.how_made(large)
    for part in (
        "over 5 seeds",
        "Student's t",
        "studentised bootstrap",
        "two-sided, corrected by Holm's method for the 10 pairs",
    ):
        assert part in said


def test_the_caption_tells_the_margin(large: Report) -> None:
    assert "do not matter" not in words.how_made(large)
    wide = replace(large, metric=replace(large.metric, margin=0.02))
    assert "Differences within 0.020 do not matter." in words.how_made(wide)


def test_what_a_reader_must_know_comes_before_the_verdicts(large: Report, small: Report) -> None:
    assert words.cautions(small) == ("One seed: there is no verdict on fewer than 6.",)
    assert words.cautions(large) == ("5 seeds: there is no verdict on fewer than 6.",)
    (_, told) = words.cautions(replace(large, planned=3))
    assert told.startswith("Seeds added after the first report in this folder: 2. Where")
    (_, told) = words.cautions(replace(large, left_out=4))
    assert told.startswith("Seeds that were run in this folder and are left out: 4. Where")
    (_, told) = words.cautions(replace(large, planned=0, left_out=1))
    assert told.startswith("Seeds added after the first report in this folder: 5. Seeds that were run in this")


def test_runs_that_diverged_are_counted_beside_the_mean(large: Report) -> None:
    arms = (large.arms[0], replace(large.arms[1], diverged=2), *large.arms[2:])
    assert list(rows(arm_columns(replace(large, arms=arms))))[1][1] == "0.400 ± 0.025, 2 diverged"


def test_secondary_metrics_that_are_kept_by_seed_have_exploratory_intervals(large: Report) -> None:
    assert list(rows(exploratory_columns(large))) == [], "means alone have none"
    kept = {"plain fine-tuning": (0.10, 0.09, 0.11, 0.10, 0.10), "HyPe": (0.09, 0.08, 0.09, 0.10, 0.09)}
    arms = tuple(
        replace(arm, secondary_values={"calibration error": kept[arm.name]} if arm.name in kept else {})
        for arm in large.arms
    )
    gain = np.subtract(kept["plain fine-tuning"], kept["HyPe"])
    low, high = stats.t.interval(0.95, 4, gain.mean(), gain.std(ddof=1) / 5**0.5)
    assert list(rows(exploratory_columns(replace(large, arms=arms)))) == [
        ("calibration error", "HyPe", "+0.010", f"+{low:.3f} to +{high:.3f}".replace("+-", "−")),
    ]


def test_the_caption_of_one_seed_promises_no_interval(small: Report) -> None:
    assert words.how_made(small).endswith("One seed: no interval and no p-value can be given.")


def test_a_difference_is_said_with_all_its_numbers(large: Report, small: Report) -> None:
    assert words.measure_difference(large.differences[0], large.metric) == (
        "HyPe against plain fine-tuning: +0.100 (95 % interval +0.090 to +0.120, corrected p = 0.0625)"
    )
    assert words.measure_difference(small.differences[0], small.metric) == (
        "NSGD against tuned SGD: +1.5 points (one value)"
    )


def test_a_verdict_names_the_controls_by_what_was_found(large: Report) -> None:
    said = words.verdict_sentence("HyPe", large.differences, metric=large.metric, baseline="plain fine-tuning")
    assert said.startswith(
        "HyPe against plain fine-tuning: +0.100 (95 % interval +0.090 to +0.120, corrected p = 0.0625). "
    )
    assert said.endswith("Better than control: " + ", ".join(arm.name for arm in large.arms[3:]) + ".")


def test_an_arm_is_said_with_its_costs(large: Report) -> None:
    assert words.describe_arm(large.arms[1], large) == (
        "HyPe (method): validation loss 0.400, 3 min 5 s a job, labels 200, bits 32."
    )


def test_costs_are_told_beside_those_of_the_baseline(large: Report) -> None:
    assert words.costs(large.arms[1], large) == (
        "92 × the time",
        "1.00 × the memory",
        "labels: 200, not 1,000",
        "bits: 32, the same",
    )


def test_verdicts_are_counted_without_hiding_any() -> None:
    assert words.overall(["better"]) == "One method arm against its baseline: better."
    assert words.overall(["worse", "no difference shown", "worse"]) == (
        "3 method arms, each against its baseline: 2 worse, 1 no difference shown."
    )
