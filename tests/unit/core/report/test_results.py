from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize("text", ["", "{}", "[1, 2]", "\x00"])
def test_what_is_no_report_is_refused_with_its_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"other\.json is not a report of this version of modicum"):
        load(path)


def test_a_report_of_an_older_version_is_refused_and_the_way_out_is_said(small: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(dump([small]).replace('"schema_version": 3', '"schema_version": 2'), encoding="utf-8")
    with pytest.raises(DataError, match=r"schema_version: Input should be 3.*Read it with the modicum that wrote it"):
        load(path)


def test_what_is_wrong_in_a_report_is_said(small: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(dump([small]).replace('"digits": 1', '"digits": -1'), encoding="utf-8")
    with pytest.raises(DataError, match=r"reports\.0\.metric: .*test accuracy is shown with 0 to 20 digits, not -1"):
        load(path)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda report: report["arms"][1].update(values=[]), "'NSGD' has 0 values for 1 seeds"),
        (lambda report: report["differences"][0].update(values=[1, 2]), "'NSGD' has 2 values for 1 seeds"),
        (lambda report: report["arms"][0].update(role="method"), "0 arms are the baseline"),
        (lambda report: report["arms"][1].update(role="baseline"), "2 arms are the baseline"),
        (lambda report: report["arms"][1].update(name="tuned SGD"), "2 arms have the name 'tuned SGD'"),
        (lambda report: report["arms"][1].update(name="mine"), "a difference names an unknown arm 'NSGD'"),
        (lambda report: report.update(differences=[]), "'NSGD' is not compared with the baseline"),
        (lambda report: report.update(verdicts=[]), "there are 0 verdicts on 1 method arms"),
        (lambda report: report["arms"][0]["costs"].update(labels=3), "'tuned SGD' has an undeclared cost 'labels'"),
        (lambda report: report["arms"][0]["secondary"].update(loss=3), "'tuned SGD' has an undeclared metric 'loss'"),
        (lambda report: report.update(planned=2), "2 seeds were planned and 1 run"),
        (
            lambda report: report["arms"][0]["secondary_values"].update(loss=[1, 2]),
            "has 2 values for 1 seeds of 'loss'",
        ),
        (lambda report: report["options"].update(note="a\x1b[2J"), "has control characters"),
        (lambda report: report["differences"][0].update(mean=float("nan")), "nan is no number to draw"),
    ],
)
def test_a_report_whose_parts_disagree_is_refused(
    small: Report, fault: Callable[[Any], None], words: str, tmp_path: Path
) -> None:
    document = json.loads(dump([small]))
    fault(document["reports"][0])
    path = tmp_path / "report.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(DataError, match=rf"report\.json is damaged: in the report of 'nsgd', .*{re.escape(words)}"):
        load(path)


def test_the_baseline_and_its_differences_are_found_by_role_and_name(large: Report) -> None:
    assert large.baseline.name == "plain fine-tuning"
    assert [each.arm for each in large.against("plain fine-tuning")] == [arm.name for arm in large.arms[1:]]
    assert [each.arm for each in large.against("control number 1 of the sceptic")] == ["HyPe"]
