"""The arms of the comparison, on recordings small enough to train in a moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tests.unit.fusion.made_up import recordings
from tests.unit.fusion.test_problem import job

from modicum.core.method import Job, Measurement
from modicum.core.seeding import numpy_generator
from modicum.errors import ConfigError
from modicum.fusion import Ragged, Recordings, save_recordings
from modicum.fusion.comparison import METHOD, Problem, setup
from modicum.fusion.degradation import draw_present
from modicum.fusion.metrics import concordance

TINY = {"labels": "0", "encoder": "linear", "channels": "8", "epochs": "1", "batch": "16", "shifts": "0"}
ARMS = {arm.name: arm.run for arm in METHOD.comparison.arms}
HALF = "with half of the streams missing"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Job:
    path = tmp_path_factory.mktemp("arms") / "own.npz"
    save_recordings(path, {"train": recordings(48, classes=2), "test": recordings(16, seed=1, classes=2)})
    return replace(job(TINY), data=path)


def run(name: str, given: Job) -> Measurement:
    return ARMS[name](given, setup(given))


@pytest.mark.parametrize(
    "name",
    [
        "best single modality",
        "CubeMLP",
        "concatenation MLP",
        "attention",
        "linear",
        "mean of single modalities",
        "CubeMLP, one stream shuffled",
    ],
)
def test_each_arm_measures_what_the_comparison_says(given: Job, name: str) -> None:
    comparison = METHOD.comparison
    found = run(name, given)
    assert 0 <= found.value <= 1
    assert set(found.secondary) == {metric.name for metric in comparison.secondary} == {HALF}
    assert set(found.costs) == {metric.name for metric in comparison.costs}
    assert found.costs["parameters"] > (20 if name == "linear" else 100)
    assert len(found.items) == 4  # videos of the test split


def test_each_rate_is_tried_and_the_one_of_the_lowest_validation_loss_is_kept(given: Job) -> None:
    tried = lambda *rates: run("CubeMLP", replace(given, settings=replace(given.settings, rates=rates)))
    assert tried(1e-2) != tried(1e-9) == tried(1e-12)  # which leave the weights as they are drawn
    assert tried(1e-12, 1e-2) == tried(1e-2, 1e-12) == tried(1e-2)


@pytest.mark.parametrize("rates", ["", "0", "1e-3,-1"])
def test_rates_are_one_or_more_above_0(rates: str) -> None:
    with pytest.raises(ConfigError, match="rates must be a number above 0, or several with commas between them"):
        job({"rates": rates})


def test_the_same_job_gives_the_same_numbers(given: Job) -> None:
    assert run("CubeMLP", given) == run("CubeMLP", given)
    assert run("CubeMLP", given) != run("CubeMLP", replace(given, seed=1))


def test_the_fusions_that_are_compared_are_equally_large(given: Job) -> None:
    sizes = [run(name, given).costs["parameters"] for name in ("CubeMLP", "concatenation MLP", "attention")]
    assert sizes[1:] == pytest.approx([sizes[0]] * 2, rel=0.1)


def test_a_stream_that_is_alike_in_all_samples_cannot_be_missed(given: Job, tmp_path: Path) -> None:
    def plain(count: int, seed: int) -> Recordings:
        drawn = recordings(count, seed=seed, classes=2)
        return replace(drawn, streams={**drawn.streams, "video": Ragged.of([np.ones((2, 2))] * count, 2)})

    save_recordings(tmp_path / "own.npz", {"train": plain(48, 0), "test": plain(16, 1)})
    here = replace(given, data=tmp_path / "own.npz")
    options = lambda shuffled: replace(here, settings=replace(here.settings, shuffled=shuffled))
    assert run("CubeMLP, one stream shuffled", options("video")) == run("CubeMLP", here)
    assert (
        run("CubeMLP, one stream shuffled", options(""))
        == run("CubeMLP, one stream shuffled", options("audio"))
        != run("CubeMLP", here)
    )
    with pytest.raises(ConfigError, match="no stream 'smell'"):
        run("CubeMLP, one stream shuffled", options("smell"))


def told(labels: Sequence[int], frames: Sequence[int]) -> Recordings:
    """The video tells the label, where there is one; the audio tells nothing."""
    draw = numpy_generator(len(labels), "told")
    return Recordings(
        ids=tuple(map(str, range(len(labels)))),
        streams={
            "audio": Ragged.of([draw.normal(size=(2, 1)) for _ in labels], 1),
            "video": Ragged.of([np.full((n, 1), 2.0 * it - 1) for it, n in zip(labels, frames, strict=True)], 1),
        },
        labels=np.array(labels, dtype=np.int64),
        classes=("no", "yes"),
    )


@pytest.mark.parametrize(("label", "share"), [(0, 1.0), (1, 0.5)])
def test_the_single_arm_says_what_is_frequent_where_its_stream_is_absent(
    tmp_path: Path, label: int, share: float
) -> None:
    train = told([0, 0, 1] * 16, [2] * 48)  # so that "no" is more frequent
    test = told([*[0, 1] * 4, *[label] * 8], [*[2] * 8, *[0] * 8])
    save_recordings(tmp_path / "own.npz", {"train": train, "test": test})
    given = job({**TINY, "epochs": "20", "rates": "0.02"})
    assert run("best single modality", replace(given, data=tmp_path / "own.npz")).value == share


def test_streams_may_come_in_another_order_in_the_test_split(given: Job, tmp_path: Path) -> None:
    train, test = recordings(48, classes=2), recordings(16, seed=1, classes=2)
    turned = replace(test, streams={name: test.streams[name] for name in ("video", "audio")})
    save_recordings(tmp_path / "own.npz", {"train": train, "test": turned})
    for name in ("CubeMLP", "best single modality", "mean of single modalities"):
        assert run(name, replace(given, data=tmp_path / "own.npz")) == run(name, given)


@cache
def frames() -> tuple[Job, Problem]:
    given = job({"task": "ces", "labels": "0", "shifts": "0"})
    return given, setup(given)


def mean_concordance(problem: Problem, predicted: np.ndarray) -> float:
    truth = np.asarray(problem.test.labels)
    return float(np.mean([concordance(truth[:, it], predicted[:, it], variant="CES") for it in range(3)]))


def said(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """What each system says of each test frame, shape (n, 9, 3), and which are left of them, (n, 9)."""
    streams = problem.test.streams.values()
    each = np.stack([it.values.reshape(-1, 21, 3)[:, 10] for it in streams], axis=1).astype(np.float64)
    return each, draw_present(np.ones(each.shape[:2], dtype=np.bool_), 0.5, seed=0)


@pytest.mark.data("avec2019-ces")
def test_the_average_on_frames_is_that_of_the_systems_that_are_there() -> None:  # CUBEMLP-C9
    given, problem = frames()
    each, left = said(problem)
    found = run("mean of single modalities", given)
    assert not found.items  # the sequences that are scored are drawn
    assert found.value == pytest.approx(mean_concordance(problem, each.mean(1)), abs=1e-6)
    kept = (each * left[..., None]).sum(1) / left.sum(1, keepdims=True)
    assert found.secondary[HALF] == pytest.approx(mean_concordance(problem, kept), abs=1e-6)
    assert found.costs["parameters"] == 0


@pytest.mark.data("avec2019-ces")
def test_the_single_arm_on_frames_is_one_of_the_systems() -> None:
    given, problem = frames()
    each, left = said(problem)
    best = list(problem.train.streams).index("visual-func")  # by the published figures, too
    found = run("best single modality", given)
    assert found.value == pytest.approx(mean_concordance(problem, each[:, best]), abs=1e-6)
    kept = np.where(left[:, [best]], each[:, best], np.asarray(problem.train.labels).mean(0))
    assert found.secondary[HALF] == pytest.approx(mean_concordance(problem, kept), abs=1e-6)
