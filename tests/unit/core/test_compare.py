"""The main job, on a small real question: does ridge regression help on scikit-learn's diabetes data?"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Annotated

import numpy as np
import pytest
from annotated_types import Ge
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, Ridge

from modicum.core.compare import compare
from modicum.core.engine import Engine, LocalEngine, open_engine
from modicum.core.journal import FILE_NAME, Journal
from modicum.core.method import Arm, Comparison, Job, Measurement, Metric
from modicum.core.report import Report, load
from modicum.core.settings import Help
from modicum.core.splits import at_rows
from modicum.errors import ConfigError, DataError, JobFailedError, JournalError

pytestmark = pytest.mark.slow  # all of them together


@dataclass(frozen=True)
class Patients:
    """What a user may change."""

    train: Annotated[int, Help("patients to learn from"), Ge(1)] = 30


def error_of(model: LinearRegression | Ridge, job: Job) -> Measurement:
    inputs, target = (np.asarray(part) for part in load_diabetes(return_X_y=True))
    order = np.random.default_rng(job.seed).permutation(len(target))
    train, test = np.split(order, [job.settings.train])
    model.fit(inputs[train], target[train])
    error = float(np.sqrt(np.mean((model.predict(inputs[test]) - target[test]) ** 2)))
    return Measurement(
        value=error, secondary={"weight norm": float(np.linalg.norm(model.coef_))}, costs={"labels": len(train)}
    )


def least_squares(job: Job) -> Measurement:
    return error_of(LinearRegression(), job)


def ridge(job: Job) -> Measurement:
    return error_of(Ridge(alpha=1.0), job)


def overdone(job: Job) -> Measurement:
    return error_of(Ridge(alpha=1e4), job)


def logged_ridge(job: Job) -> Measurement:
    """Leaves a mark each time it really runs."""
    with Path(os.environ["MODICUM_TEST_LOG"]).open("a") as log:
        log.write(f"{job.seed}\n")
    return ridge(job)


def fails_on_seed_one(job: Job) -> Measurement:
    if job.seed == 1 and not Path(os.environ["MODICUM_TEST_LOG"]).exists():
        raise ZeroDivisionError("no luck with one")
    return ridge(job)


def says_the_file_is_bad(job: Job) -> Measurement:
    raise DataError("table.csv, row 7 has 3 fields, expected 4.", hint="Mend row 7.")


def returns_a_number(job: Job) -> Measurement:
    return 0.5  # type: ignore[return-value]


RIDGE = Comparison(
    method="ridge",
    question="Does a small ridge penalty lower the error on 30 patients?",
    metric=Metric(name="RMSE", higher_is_better=False, digits=1),
    arms=(
        Arm(name="ridge", role="method", run=ridge),
        Arm(name="huge penalty", role="control", run=overdone),
        Arm(name="least squares", role="baseline", run=least_squares),
    ),
    secondary=(Metric(name="weight norm"),),
    costs=(Metric(name="labels", higher_is_better=False),),
    settings={"demo": Patients(), "full": Patients(train=200)},
    data={"demo": "scikit-learn diabetes"},
)


def with_method(run: object) -> Comparison:
    return replace(RIDGE, arms=(replace(RIDGE.arms[0], run=run), *RIDGE.arms[1:]))  # type: ignore[arg-type]


def measured_part(report: Report) -> tuple[object, ...]:
    """Everything but the clock and the memory."""
    arms = [(arm.name, arm.values, arm.mean, arm.std, arm.secondary, arm.costs) for arm in report.arms]
    return arms, report.differences, report.verdicts, report.seeds


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file that the workers of `processes` leave marks in, where MODICUM_TEST_LOG is not set anew."""
    path = tmp_path_factory.mktemp("workers") / "log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODICUM_TEST_LOG", str(path))
        yield path


@pytest.fixture(scope="module")
def processes(log: Path) -> Iterator[Engine]:
    with open_engine("local", workers=2) as engine:
        yield engine


def test_differences_are_paired_signed_and_judged() -> None:
    report = compare(RIDGE, seeds=8, engine="inline")
    assert [arm.role for arm in report.arms] == ["baseline", "method", "control"]
    assert [(item.arm, item.versus) for item in report.differences] == [
        ("ridge", "least squares"),
        ("huge penalty", "least squares"),
        ("ridge", "huge penalty"),
    ]
    baseline, method, _ = report.arms
    expected = [theirs - ours for ours, theirs in zip(method.values, baseline.values, strict=True)]
    assert report.differences[0].values == pytest.approx(expected)  # lower is better, so positive is better
    assert method.costs == {"labels": 30.0}
    assert method.values[3] == ridge(Job(seed=3, budget="demo", settings=Patients(train=30))).value


def test_verdict_needs_the_interval_and_enough_seeds() -> None:
    # With 200 patients the huge penalty does harm on every split.
    patients = {"train": "200"}
    many = compare(RIDGE, seeds=8, engine="inline", options=patients).differences
    few = compare(RIDGE, seeds=4, engine="inline", options=patients).differences
    one = compare(RIDGE, seeds=1, engine="inline", options=patients).differences
    assert [item.verdict for item in many[1:]] == ["worse", "better"]
    assert many[1].high is not None
    assert many[1].high < 0
    assert [item.verdict for item in few[1:]] == ["too few seeds"] * 2  # intervals of four are too narrow
    assert [item.verdict for item in one] == ["too few seeds"] * 3


def labelled(job: Job, shift: float) -> Measurement:
    items = np.random.default_rng(0).normal(size=30) * shift + np.random.default_rng(job.seed).normal(0, 0.01, 30)
    return Measurement(value=float(items.mean()), items=items.tolist())


def test_test_items_that_all_seeds_share_are_in_the_report(tmp_path: Path) -> None:
    arms = [replace(each, run=partial(labelled, shift=float(number))) for number, each in enumerate(RIDGE.arms)]
    report = compare(
        replace(RIDGE, arms=tuple(arms), metric=Metric(name="score")), seeds=6, engine="inline", out=tmp_path
    )
    assert report == load(tmp_path / "report.json")[0]
    assert [len(each.items) for each in report.arms] == [30] * 3
    assert [np.mean(each.items) for each in report.arms] == pytest.approx([each.mean for each in report.arms], abs=1e-6)
    assert "The seeds test 30 items, the same in all arms" in " ".join(str(report).split())
    assert {each.verdict for each in report.differences} == {"no difference shown"}  # though all seeds agree


def taking_turns(job: Job) -> Measurement:
    rows, scores = np.array([0, 1, 2 + job.seed]), np.array([0.0, 1.0, float(job.seed)])
    return Measurement(value=scores.mean(), items=at_rows(scores, (rows, 9)))


def test_an_item_has_the_mean_over_the_seeds_that_test_it(tmp_path: Path) -> None:
    arms = tuple(replace(each, run=taking_turns) for each in RIDGE.arms)
    report = compare(replace(RIDGE, arms=arms), seeds=3, engine="inline", out=tmp_path)
    assert report == load(tmp_path / "report.json")[0]
    assert {each.items for each in report.arms} == {(0.0, 1.0, 0.0, 1.0, 2.0)}  # nobody tests rows 5 to 8


def test_items_have_the_mean_of_the_measurement() -> None:
    with pytest.raises(ConfigError, match=r"The mean of the 2 items is 0\.5, and the value is 0\.7\."):
        Measurement(value=0.7, items=[0.0, math.nan, 1.0])
    with pytest.raises(ConfigError, match=r"The mean of the 0 items is nan"):
        Measurement(value=0.7, items=[math.nan])


def test_seeds_that_are_added_after_a_look_are_told(tmp_path: Path) -> None:
    def again(seeds: int | Sequence[int], **options: int) -> tuple[int, int]:
        report = compare(RIDGE, seeds=seeds, engine="inline", out=tmp_path, options=options)
        assert load(tmp_path / "report.json") == (report,)
        changed = report.planned < len(report.seeds) or report.left_out > 0
        assert ("Where seeds are chosen until a difference shows" in " ".join(str(report).split())) == changed
        return report.planned, report.left_out

    assert again(2) == (2, 0)
    assert again(4) == (2, 0)
    assert again(5) == (2, 0)
    assert again([1, 5, 6]) == (1, 4)
    assert again([7, 8]) == (0, 7)
    assert again([2, 3, 4]) == (0, 6), "a report without seeds of the first does not become the first"
    assert again(6, train=40) == (6, 0), "another question"
    (tmp_path / "report.json").unlink()
    assert again(9) == (2, 0), "neither another question in between nor a lost report makes it forgotten"


def constant(job: Job, value: float) -> Measurement:
    return Measurement(value=value)


def test_copies_of_one_value_are_no_evidence() -> None:
    arms = (*RIDGE.arms[:2], replace(RIDGE.arms[2], run=partial(constant, value=60.0)))
    arms = (replace(arms[0], run=partial(constant, value=50.0)), *arms[1:])
    report = compare(replace(RIDGE, arms=arms), seeds=8, engine="inline")
    first, second, _ = report.differences
    assert (first.low, first.p_value, first.verdict) == (None, None, "too few seeds")
    assert second.p_value is not None, "an arm that the seeds change"
    assert "both arms give the same on all seeds" in " ".join(str(report).split())


def test_fewer_than_six_seeds_have_no_verdict() -> None:
    assert compare(RIDGE, seeds=5, engine="inline").differences[0].verdict == "too few seeds"


def some_items(job: Job, items: tuple[float, ...]) -> Measurement:
    return Measurement(value=1.0, items=items)


@pytest.mark.parametrize("others", [(1.0, math.nan, 1.0), (1.0, 1.0, 1.0)])
def test_items_that_are_not_those_of_the_other_arms_are_refused(others: tuple[float, ...]) -> None:
    arms = [replace(each, run=partial(some_items, items=(math.nan, 1.0, 1.0))) for each in RIDGE.arms]
    arms[0] = replace(arms[0], run=partial(some_items, items=others))
    with pytest.raises(ConfigError, match="the arms least squares and ridge do not test the same items: 2 of 3 and"):
        compare(replace(RIDGE, arms=tuple(arms)), seeds=2, engine="inline")


def test_only_arms_that_give_items_are_said_to() -> None:
    arms = [replace(each, run=partial(labelled, shift=float(number))) for number, each in enumerate(RIDGE.arms)]
    arms[0] = replace(arms[0], run=ridge)
    report = compare(replace(RIDGE, arms=tuple(arms), metric=Metric(name="score")), seeds=6, engine="inline")
    assert "test 30 items, the same in least squares, huge penalty: intervals" in " ".join(str(report).split())


def sometimes(job: Job) -> Measurement:
    return Measurement(value=1.0 + job.seed, secondary={"weight norm": 1.0} if job.seed else {})


def test_a_secondary_metric_of_some_seeds_is_told() -> None:
    with pytest.warns(UserWarning, match="The arm ridge gives 'weight norm' on 2 of 3 seeds: the report leaves it out"):
        compare(with_method(sometimes), seeds=3, engine="inline")


def test_an_error_names_its_arm_and_seed() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        compare(with_method(divides_by_its_seed), seeds=3, engine="inline")
    assert caught.value.__notes__ == ["This was the arm ridge on seed 0."]


def divides_by_its_seed(job: Job) -> Measurement:
    return Measurement(value=1 / job.seed)


def test_an_arm_against_itself_shows_no_difference() -> None:
    report = compare(with_method(least_squares), seeds=8, engine="inline")
    assert report.differences[0].verdict == "no difference shown"
    said = "ridge against least squares: 0.0 (95 % interval 0.0 to 0.0, corrected p = 1)."
    assert report.verdicts[0].startswith(said)
    assert report.verdicts[0].endswith("control: huge penalty.")


def test_engines_agree_bit_for_bit(processes: Engine) -> None:
    inline = compare(RIDGE, seeds=3, engine="inline")
    assert measured_part(compare(RIDGE, seeds=3, engine=processes)) == measured_part(inline)


def test_finished_jobs_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("MODICUM_TEST_LOG", str(log))
    subject, out = with_method(logged_ridge), tmp_path / "out"
    first = compare(subject, seeds=2, engine="inline", out=out)
    again = compare(subject, seeds=2, engine="inline", out=out)
    assert log.read_text() == "0\n1\n"
    assert again.arms == first.arms  # the clock too: it was measured once
    compare(subject, seeds=3, engine="inline", out=out)
    assert log.read_text() == "0\n1\n2\n"
    compare(subject, seeds=1, engine="inline", out=out, options={"train": "40"})
    assert log.read_text() == "0\n1\n2\n0\n"
    assert load(out / "report.json")[0].options == {"train": "40"}


def split(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """Leaves a mark each time it really runs."""
    with Path(os.environ["MODICUM_TEST_LOG"]).open("a") as log:
        log.write(f"{job.seed}\n")
    if job.seed == 9:
        raise DataError("There is no draw 9.", hint="Take another.")
    time.sleep(0.3)
    order = np.random.default_rng(job.seed).permutation(442)
    return order[: job.settings.train], order[job.settings.train :]


def shared_error(job: Job, parts: tuple[np.ndarray, np.ndarray], model: LinearRegression | Ridge) -> Measurement:
    inputs, target = (np.asarray(part) for part in load_diabetes(return_X_y=True))
    train, test = parts
    model = clone(model).fit(inputs[train], target[train])  # what an arm is bound to is part of its job
    return Measurement(value=float(np.sqrt(np.mean((model.predict(inputs[test]) - target[test]) ** 2))))


SHARED = replace(
    RIDGE,
    setup=split,
    arms=(
        Arm(name="ridge", role="method", run=partial(shared_error, model=Ridge(alpha=1.0))),
        Arm(name="least squares", role="baseline", run=partial(shared_error, model=LinearRegression())),
    ),
)


def test_what_the_arms_of_a_seed_share_is_made_once_for_those_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    monkeypatch.setenv("MODICUM_TEST_LOG", str(log))
    first = compare(SHARED, seeds=2, engine="inline", out=out)
    assert log.read_text() == "0\n1\n"
    compare(SHARED, seeds=2, engine="inline", out=out)
    assert log.read_text() == "0\n1\n"
    more = replace(SHARED, arms=(*SHARED.arms, replace(SHARED.arms[0], name="once more", role="control")))
    again = compare(more, seeds=2, engine="inline", out=out)
    assert log.read_text() == "0\n1\n" * 2
    compare(SHARED, seeds=1, engine="inline", out=out, options={"train": 40})
    assert log.read_text() == "0\n1\n" * 2 + "0\n"
    # The values are those of arms that split by themselves, and the seconds are without those of the split.
    assert first.arms[1].values == compare(RIDGE, seeds=2, engine="inline").arms[1].values
    assert again.arms[2].values == first.arms[1].values
    assert all(arm.seconds < 0.3 for arm in again.arms)
    with pytest.raises(DataError, match="no draw 9"):
        compare(SHARED, seeds=[9], engine="inline")


def test_workers_make_what_arms_share_once_a_seed_each(processes: Engine, log: Path) -> None:
    before = len(log.read_text().split()) if log.exists() else 0
    found = compare(SHARED, seeds=3, engine=processes)
    assert len(log.read_text().split()) - before <= 2 * 3
    log.unlink()
    assert measured_part(found) == measured_part(compare(SHARED, seeds=3, engine="inline"))
    log.unlink()


def test_a_failed_job_keeps_the_others_and_is_repeated(tmp_path: Path, processes: Engine, log: Path) -> None:
    out = tmp_path / "out"
    subject = with_method(fails_on_seed_one)
    with pytest.raises(JobFailedError, match=r"1 of 9 jobs failed; .*ridge, seed 1.*no luck with one") as caught:
        compare(subject, seeds=3, engine=processes, out=out)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert not (out / "report.json").exists()
    with Journal(out) as journal:
        assert len(journal) == 8
    log.touch()
    assert compare(subject, seeds=3, engine=processes, out=out).arms[1].values[1] > 0


def test_bad_input_stops_at_once_as_itself(processes: Engine) -> None:
    with pytest.raises(DataError, match="row 7 has 3 fields"):
        compare(with_method(says_the_file_is_bad), seeds=3, engine=processes)


def test_an_arm_that_returns_no_measurement_is_told_so() -> None:
    with pytest.raises(JobFailedError, match="returned float, not a Measurement"):
        compare(with_method(returns_a_number), seeds=1, engine="inline")


def test_a_damaged_journal_stops_the_run(tmp_path: Path) -> None:
    compare(RIDGE, seeds=1, engine="inline", out=tmp_path)
    (tmp_path / FILE_NAME).write_bytes(b"")
    with pytest.raises(JournalError, match="is empty"):
        compare(RIDGE, seeds=1, engine="inline", out=tmp_path)


def dies_in_the_middle(job: Job) -> Measurement:
    if job.seed == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return ridge(job)


def test_an_arm_that_kills_its_worker_is_a_failed_job(tmp_path: Path) -> None:
    with (
        LocalEngine(workers=1, retries=0) as engine,
        pytest.raises(JobFailedError, match=r"1 of 9 jobs failed; .*ridge, seed 2.*took its worker process down"),
    ):
        compare(with_method(dies_in_the_middle), seeds=3, engine=engine, out=tmp_path)
    with Journal(tmp_path) as journal:
        assert len(journal) == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 0}, "at least one seed, got 0"),
        ({"seeds": True}, "The number of seeds is 1 to 10,000, got True"),
        ({"seeds": 10_001}, "The number of seeds is 1 to 10,000, got 10001"),
        ({"budget": "huge"}, "There is no budget 'huge'"),
        ({"seeds": "3"}, "Seeds must be integers, got '3'"),
        ({"seeds": [1, 1]}, r"got \[1, 1\]"),
        ({"seeds": [-1]}, r"got \[-1\]"),
        ({"options": {"trian": "3"}}, "has no option 'trian'"),
        ({"options": {"train": "0"}}, "train must be an integer from 1 on, got '0'. Write --option train=30, or"),
        ({"data": Path("mine.csv")}, "takes no data of your own"),
        ({"engine": "abacus"}, "There is no engine 'abacus'"),
        ({"device": "gpu"}, "torch cannot use the device 'gpu'"),
    ],
)
def test_nonsense_is_a_config_error(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compare(RIDGE, **settings)  # type: ignore[arg-type]


def test_settings_are_an_instance_of_a_dataclass() -> None:
    for wrong in (Patients, {"demo": {"train": 3}, "full": {}}):
        with pytest.raises(ConfigError, match=r"The settings of ridge are .*, not an instance of a dataclass"):
            replace(RIDGE, settings=wrong)


def test_a_method_is_given_by_its_name() -> None:
    with pytest.raises(ConfigError, match=r"The comparison nsgd has no option 'rate'\."):
        compare("nsgd", options={"rate": "0.1"})
    with pytest.raises(ConfigError, match=r"Did you mean nsgd\?"):
        compare("nsdg")
    with pytest.raises(ConfigError, match=r"takes a method or a comparison, not 3"):
        compare(3)  # type: ignore[arg-type]


def measures_by_another_name(job: Job) -> Measurement:
    return Measurement(value=1.0, secondary={"weight norm": 1.0}, costs={"lables": 30})


def test_what_a_comparison_does_not_declare_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"The arm ridge measures 'lables' in costs, which .* declares 'labels'\."):
        compare(with_method(measures_by_another_name), seeds=1, engine="inline")
    compare(RIDGE, seeds=1, engine="inline", out=tmp_path)
    fewer = compare(replace(RIDGE, costs=()), seeds=1, engine="inline", out=tmp_path)  # all jobs from the journal
    assert fewer.arms[0].costs == {}
    assert load(tmp_path / "report.json") == (fewer,)


def test_the_report_of_a_comparison_of_ones_own_has_no_empty_headings_and_prints_as_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = ModuleType("__main__")
    script.__file__ = "mine.py"
    monkeypatch.setitem(sys.modules, "__main__", script)
    monkeypatch.setattr(sys, "argv", ["mine.py", "--note", "a b\x01"])
    report = compare(replace(RIDGE, data={}), seeds=1, engine="inline", out=tmp_path)
    lines = str(report).splitlines()
    assert lines[0] == RIDGE.question
    assert any(line.startswith("ridge ") and "one value" in line for line in lines)
    page, text = ((tmp_path / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    assert "python mine.py --note 'a b\ufffd'" in text
    for empty in (">Sources<", ">Data<"):
        assert empty not in page
    assert "- Data:" not in text
    assert load(tmp_path / "report.json") == (report,)
