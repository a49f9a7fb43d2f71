from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from modicum.core.method import Metric, Role
from modicum.core.report import ArmResult, Difference, Environment, Report, dump, load

# Measurements are finite (`Measurement` refuses others); letters are all that a file can hold.
number = st.floats(-1e300, 1e300, allow_nan=False)
text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="\ufffe\uffff"), max_size=20)
metric = st.builds(Metric, name=text, unit=text, digits=st.integers(0, 9))
metrics = st.lists(metric, max_size=2, unique_by=lambda each: each.name).map(tuple)


@st.composite
def report(draw: st.DrawFn) -> Report:
    """One whose parts agree, as `load` asks."""
    seeds = draw(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4).map(tuple))
    values = st.lists(number, min_size=len(seeds), max_size=len(seeds)).map(tuple)
    names = draw(st.lists(text, min_size=1, max_size=3, unique=True))
    roles: list[Role] = ["baseline", "method", "control"]
    beside, costs = draw(metrics), draw(metrics)
    arms = [
        draw(
            st.builds(
                ArmResult,
                name=st.just(name),
                role=st.just(role),
                summary=text,
                values=values,
                mean=number,
                deviation=st.none() | number,
                seconds=number,
                memory=number,
                beside=st.fixed_dictionaries({}, optional={each.name: number for each in beside}),
                costs=st.fixed_dictionaries({}, optional={each.name: number for each in costs}),
            )
        )
        for name, role in zip(names, roles, strict=False)
    ]
    differences = [
        draw(
            st.builds(
                Difference,
                arm=st.just(name),
                versus=st.just(names[0]),
                values=values,
                mean=number,
                low=st.none() | number,
                high=st.none() | number,
                p_value=st.none() | number,
            )
        )
        for name in names[1:]
    ]
    return draw(
        st.builds(
            Report,
            method=text,
            title=text,
            question=text,
            metric=metric,
            beside=st.just(beside),
            costs=st.just(costs),
            data=text,
            options=st.dictionaries(text, text, max_size=3),
            seeds=st.just(seeds),
            arms=st.just(tuple(arms)),
            differences=st.just(tuple(differences)),
            verdicts=st.lists(text, min_size=len(arms) > 1, max_size=len(arms) > 1).map(tuple),
            sources=st.lists(text, max_size=2).map(tuple),
            environment=st.builds(
                Environment,
                **dict.fromkeys(
                    ("modicum", "python", "torch", "numpy", "platform", "processor", "device", "command", "created"),
                    text,
                ),
                commit=st.none() | text,
            ),
        )
    )


@given(st.lists(report(), max_size=2))
def test_a_report_read_back_is_equal_to_the_last_bit(several: list[Report]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        path.write_text(dump(several), encoding="utf-8", newline="")
        assert load(path) == tuple(several)
