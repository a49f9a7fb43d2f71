from __future__ import annotations

from modicum.core.report import Report
from modicum.core.report.cells import arm_columns, control_columns, rows, seed_columns, summary


def test_all_arms_are_listed_with_all_their_numbers(large: Report) -> None:
    assert [column.heading for column in arm_columns(large)] == [
        "arm",
        "validation loss",
        "difference",
        "95 % interval",
        "p",
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
        *("plain fine-tuning", "0.500 ± 0.016", "–", "–", "–", "–", "baseline"),
        *("2.0 s", "512 MiB", "1,000", "32", "0.091"),
    )
    assert table[1] == (
        *("HyPe", "0.400 ± 0.025", "+0.100", "+0.090 to +0.120", "0.0625", "better", "method"),
        *("3 min 5 s", "512 MiB", "200", "32", "0.082"),
    )


def test_what_an_arm_did_not_measure_is_absent_and_not_zero(large: Report) -> None:
    assert list(rows(arm_columns(large)))[2][-3:] == ("200", "–", "–")


def test_one_seed_has_neither_interval_nor_p_value(small: Report) -> None:
    assert list(rows(arm_columns(small)))[1][2:6] == ("+1.5", "one seed", "one seed", "too few seeds")


def test_controls_are_compared_apart_from_the_baseline(large: Report, small: Report) -> None:
    against = [row[1] for row in rows(control_columns(large))]
    assert against == [f"control number {number} of the sceptic" for number in range(1, 5)]
    assert list(rows(control_columns(small))) == []


def test_each_seed_has_a_column_in_the_order_of_the_report(large: Report) -> None:
    columns = seed_columns(large)
    assert [column.heading for column in columns] == ["arm", "seed 3", "seed 5", "seed 8", "seed 13", "seed 21"]
    assert list(rows(columns))[1] == ("HyPe", "0.400", "0.430", "0.370", "0.420", "0.380")


def test_the_summary_has_a_row_for_each_method_arm(large: Report, small: Report) -> None:
    told = [(row.arm.name, row.verdict, row.change, row.certainty) for row in summary([large, small])]
    assert told == [
        ("HyPe", "better", "+0.100", "+0.090 to +0.120, p = 0.0625"),
        ("HyPe with the constants of the paper", "no difference shown", "0.000", "−0.010 to +0.020, p = 0.0625"),
        ("NSGD", "too few seeds", "+1.5 points", "one seed"),
    ]
