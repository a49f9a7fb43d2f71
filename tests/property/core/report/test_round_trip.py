from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from modicum.core.method import Metric
from modicum.core.report import ArmResult, Difference, Environment, Report, dump, load

# Measurements are finite (`Measurement` refuses others); letters are all that a file can hold.
number = st.floats(allow_nan=False, allow_infinity=False)
text = st.text(st.characters(codec="utf-8"), max_size=20)
named = st.dictionaries(text, number, max_size=3)
metric = st.builds(Metric, name=text, unit=text, digits=st.integers(0, 9))
arm = st.builds(
    ArmResult,
    name=text,
    summary=text,
    values=st.lists(number, min_size=1, max_size=4).map(tuple),
    mean=number,
    deviation=st.none() | number,
    seconds=number,
    memory=number,
    beside=named,
    costs=named,
)
difference = st.builds(
    Difference,
    arm=text,
    versus=text,
    values=st.lists(number, min_size=1, max_size=4).map(tuple),
    mean=number,
    low=st.none() | number,
    high=st.none() | number,
    p_value=st.none() | number,
)
reports = st.builds(
    Report,
    method=text,
    title=text,
    question=text,
    metric=metric,
    beside=st.lists(metric, max_size=2).map(tuple),
    costs=st.lists(metric, max_size=2).map(tuple),
    data=text,
    options=st.dictionaries(text, text, max_size=3),
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4).map(tuple),
    arms=st.lists(arm, max_size=3).map(tuple),
    differences=st.lists(difference, max_size=3).map(tuple),
    verdicts=st.lists(text, max_size=2).map(tuple),
    sources=st.lists(text, max_size=2).map(tuple),
    environment=st.builds(Environment, commit=st.none() | text),
)


@given(st.lists(reports, max_size=2))
def test_a_report_read_back_is_equal_to_the_last_bit(several: list[Report]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        path.write_text(dump(several), encoding="utf-8", newline="")
        assert load(path) == tuple(several)
