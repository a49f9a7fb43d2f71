from __future__ import annotations

from pathlib import Path

import pytest

from modicum.core.report import Report, dump, load
from modicum.errors import DataError


def test_a_report_read_back_is_equal(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(dump([report, report]), encoding="utf-8")
    assert load(path) == (report, report)


def test_a_missing_report_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no report at .*gone\.json\. Run modicum compare METHOD --out"):
        load(tmp_path / "gone.json")


@pytest.mark.parametrize("text", ["", "{}", "[1, 2]", '{"schema_version": 2, "reports": []}', "\x00"])
def test_what_is_no_report_is_refused_with_its_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"other\.json is not a report of this version of modicum"):
        load(path)


def test_the_baseline_and_its_differences_are_found_by_role_and_name(large: Report) -> None:
    assert large.baseline.name == "plain fine-tuning"
    assert [each.arm for each in large.against("plain fine-tuning")] == [arm.name for arm in large.arms[1:]]
    assert [each.arm for each in large.against("control number 1 of the sceptic")] == ["HyPe"]
