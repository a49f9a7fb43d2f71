from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from modicum.core.method import Metric, Role
from modicum.core.report import ArmResult, Difference, Environment, Report, dump, load

# Measurements are finite (`Measurement` refuses others); letters are all that a file can hold.
number = st.floats(-1e300, 1e300, allow_nan=False)
text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="\ufffe\uffff"), max_size=20)
name = text.filter(str.strip)
metric = st.builds(Metric, name=name, unit=text, digits=st.integers(0, 9), margin=st.none() | st.floats(1e-9, 1e9))
metrics = st.lists(metric, max_size=2, unique_by=lambda each: each.name).map(tuple)
values = st.tuples(number, number, number)
arm = st.builds(
    ArmResult,
    name=text,
    summary=text,
    values=values,
    mean=number,
    std=st.none() | number,
    seconds=number,
    memory=number,
    secondary=st.just({}),
    costs=st.just({}),
    secondary_values=st.just({}),
    diverged=st.integers(0, 3),
)
difference = st.builds(
    Difference,
    arm=text,
    versus=text,
    values=values,
    mean=number,
    median=number,
    low=st.none() | number,
    high=st.none() | number,
    p_value=st.none() | number,
    adjusted=st.none() | number,
)


def agreeing(report: Report) -> Report:
    """Make the parts of a report agree, as `load` asks."""
    count = len(report.seeds)
    roles: list[Role] = ["baseline", "method", "control"]
    arms = tuple(
        replace(
            arm,
            role=role,
            values=arm.values[:count],
            secondary={each.name: arm.mean for each in report.secondary},
            secondary_values={each.name: arm.values[:count] for each in report.secondary},
            costs={each.name: arm.seconds for each in report.costs},
        )
        for arm, role in zip(report.arms, roles, strict=False)
    )
    differences = tuple(
        replace(each, arm=arm.name, versus=arms[0].name, values=each.values[:count])
        for each, arm in zip(report.differences, arms[1:], strict=False)
    )
    return replace(report, arms=arms, differences=differences, verdicts=report.verdicts[: len(arms) > 1], planned=count)


reports = st.builds(
    Report,
    method=text,
    title=text,
    question=text,
    metric=metric,
    secondary=metrics,
    costs=metrics,
    data=text,
    options=st.dictionaries(text, text, max_size=3),
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3).map(tuple),
    arms=st.lists(arm, min_size=1, max_size=3, unique_by=lambda each: each.name).map(tuple),
    differences=st.tuples(difference, difference),
    verdicts=st.tuples(text),
    planned=st.just(1),
    sources=st.lists(text, max_size=2).map(tuple),
    environment=st.builds(
        Environment,
        modicum=text,
        python=text,
        torch=text,
        numpy=text,
        platform=text,
        processor=text,
        device=text,
        commit=st.none() | text,
        command=text,
        created=text,
    ),
).map(agreeing)


@given(st.lists(reports, min_size=1, max_size=2))
def test_a_report_read_back_is_equal_to_the_last_bit(several: list[Report]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        path.write_text(dump(several), encoding="utf-8", newline="")
        assert load(path) == tuple(several)
