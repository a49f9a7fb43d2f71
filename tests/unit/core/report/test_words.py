from __future__ import annotations

from modicum.core.report import Report, words


def test_the_caption_says_which_way_is_subtracted_when_lower_is_better(large: Report, small: Report) -> None:
    assert "validation loss of plain fine-tuning minus that of the arm (lower is better)" in words.how_made(large)
    assert "test accuracy of the arm minus that of tuned SGD (higher is better)" in words.how_made(small)


def test_the_caption_says_how_intervals_and_p_values_were_made(large: Report) -> None:
    said = words.how_made(large)
    for part in ("over 5 seeds", "95 % bootstrap", "two-sided sign-flip", "not corrected for several arms"):
        assert part in said


def test_the_caption_of_one_seed_promises_no_interval(small: Report) -> None:
    assert words.how_made(small).endswith("One seed: no interval and no p-value can be given.")


def test_a_difference_is_said_with_all_its_numbers(large: Report, small: Report) -> None:
    assert words.describe_difference(large.differences[0], large.metric) == (
        "HyPe against plain fine-tuning: +0.100 (95 % interval +0.090 to +0.120, p = 0.0625), better."
    )
    assert words.describe_difference(small.differences[0], small.metric) == (
        "NSGD against tuned SGD: +1.5 points (one seed), too few seeds."
    )


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
