"""What the arms of the comparison learn from and are scored on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tests.unit.fusion.made_up import recordings

from modicum.core.catalogue import fetch
from modicum.core.method import Budget, Job
from modicum.core.seeding import numpy_generator
from modicum.errors import ConfigError, DataError
from modicum.fusion import Ragged, Recordings, save_recordings
from modicum.fusion.comparison import METHOD
from modicum.fusion.comparison.problem import Problem, frames_of_sequences, join, setup, shifted, shuffle
from modicum.fusion.metrics import concordance
from modicum.fusion.readers.catalogue import SYSTEMS, CesSequence, read_mosi, read_motions


def job(options: Mapping[str, str] | None = None, *, budget: Budget = "demo") -> Job:
    return Job(seed=0, budget=budget, settings=METHOD.comparison.settings_for(budget, options))


@cache
def posed(seed: int, **options: str) -> Problem:
    return setup(replace(job(options), seed=seed))


def own(path: Path, splits: Mapping[str, Recordings], *, seed: int = 0, labels: str = "0") -> Problem:
    save_recordings(path / "own.npz", splits)
    return setup(replace(job({"labels": labels, "shifts": "0"}), seed=seed, data=path / "own.npz"))


def parts(problem: Problem) -> tuple[Recordings, Recordings, Recordings]:
    return problem.train, problem.valid, problem.test


def videos(recordings: Recordings) -> set[str]:
    return set(recordings.groups)


def test_motions_are_parted_by_sample_and_by_seed() -> None:
    problem = posed(0, shifts="0")
    assert [len(part) for part in parts(problem)] == [16, 16, 48]
    assert len(posed(0).train) == 64
    assert len({name for part in parts(problem) for name in part.ids}) == 80
    for part in parts(problem):
        assert np.bincount(np.asarray(part.labels)).tolist() == [len(part) // 4] * 4
    again = setup(job())
    assert [part.ids for part in parts(again)] == [part.ids for part in parts(posed(0))]
    assert posed(1).test.ids != problem.test.ids


@pytest.mark.parametrize("labels", ["3", "27", "0"])
def test_motions_are_no_more_than_there_are(labels: str) -> None:
    with pytest.raises(ConfigError, match="from 4 to 26"):
        posed(0, labels=labels)


def test_motions_are_items_among_all_recordings() -> None:
    problem = posed(0)
    right = np.arange(48) < 40
    labels = np.asarray(problem.test.labels)
    items = np.array(problem.items(np.eye(4, dtype=np.float32)[np.where(right, labels, (labels + 1) % 4)]))
    every = join([*read_motions().values()]).ids
    assert {name: item for name, item in zip(every, items, strict=True) if not np.isnan(item)} == dict(
        zip(problem.test.ids, right, strict=True)
    )


def test_own_recordings_keep_their_test_split(tmp_path: Path) -> None:
    given, test = recordings(40, classes=2), recordings(8, seed=1, classes=2)
    problem = own(tmp_path, {"train": given, "test": test})
    assert problem.test.ids == test.ids
    assert not videos(problem.train) & videos(problem.valid)
    assert sorted(problem.train.ids + problem.valid.ids) == sorted(given.ids)
    assert own(tmp_path, {"train": given, "test": test}).valid.ids == problem.valid.ids
    assert own(tmp_path, {"train": given, "test": test}, seed=1).valid.ids != problem.valid.ids
    whole = own(tmp_path, {"train": given, "valid": test, "test": test})
    assert whole.train.ids == given.ids


@pytest.mark.parametrize("name", ["all", "test", "valid"])
def test_a_single_split_is_parted_and_no_sample_is_in_two(tmp_path: Path, name: str) -> None:
    given = recordings(80, classes=2)
    problem = own(tmp_path, {name: given})
    assert sorted(name for part in parts(problem) for name in part.ids) == sorted(given.ids)
    train, valid, test = map(videos, parts(problem))
    assert len(train | valid | test) == len(train) + len(valid) + len(test)
    assert own(tmp_path, {name: given}, seed=1).test.ids != problem.test.ids


def test_labels_leave_validation_and_test_as_they_are(tmp_path: Path) -> None:
    given = recordings(40, classes=2)
    whole, few = own(tmp_path, {"train": given}), own(tmp_path, {"train": given}, labels="5")
    assert len(few.train) == 5
    assert set(few.train.ids) < set(whole.train.ids)
    assert (few.valid.ids, few.test.ids) == (whole.valid.ids, whole.test.ids)
    with pytest.raises(ConfigError, match="labels is 99, but there are"):
        own(tmp_path, {"train": given}, labels="99")


def test_shifted_copies_are_rolled_in_a_circle_and_their_streams_together() -> None:
    frames = np.arange(7.0)[:, None] + 100 * np.arange(5)[:, None, None]  # the value says which sample and frame it is
    audio, words = Ragged.of(list(frames), 1), Ragged.of([*frames[:4, :3], []], 1)
    given = replace(recordings(5, classes=2), streams={"audio": audio, "video": audio, "words": words})
    after = shifted(given, 2, seed=0)
    amounts = []
    assert after.ids == given.ids * 3
    assert after.groups == given.groups * 3
    assert np.array_equal(np.asarray(after.labels), np.tile(np.asarray(given.labels), 3))
    for place in range(15):
        moved = {name: stream[place][:, 0] for name, stream in after.streams.items()}
        amounts.append(-(int(moved["audio"][0]) % 100) % 7)
        assert np.array_equal(moved["audio"], np.roll(frames[place % 5, :, 0], amounts[-1]))
        assert np.array_equal(moved["video"], moved["audio"])
        assert sorted(moved["words"]) == sorted(words[place % 5][:, 0])
    assert amounts[:5] == [0] * 5
    assert amounts[5:10] != amounts[10:]
    again, other = shifted(given, 2, seed=0), shifted(given, 2, seed=1)
    assert np.array_equal(again.streams["audio"].values, after.streams["audio"].values)
    assert not np.array_equal(other.streams["audio"].values, after.streams["audio"].values)


def test_only_what_is_learnt_from_is_shifted(tmp_path: Path) -> None:
    save_recordings(tmp_path / "own.npz", {"train": recordings(40, classes=2)})
    plain, more = (setup(replace(job({"labels": "0", "shifts": it}), data=tmp_path / "own.npz")) for it in ("0", "2"))
    assert more.train.ids == plain.train.ids * 3
    for name in ("audio", "video"):
        for before, after in zip(parts(plain)[1:], parts(more)[1:], strict=True):
            assert np.array_equal(before.streams[name].values, after.streams[name].values)


def test_items_are_videos_or_samples_and_average_to_the_accuracy(tmp_path: Path) -> None:
    given, test = recordings(40, classes=2), recordings(10, seed=1, classes=2)
    guess = np.tile(np.array([[0.4, 0.6]], np.float32), (10, 1))
    truth = np.asarray(test.labels)
    problem = own(tmp_path, {"train": given, "test": test})
    right = [truth[:4].sum(), truth[4:8].sum(), truth[8:].sum()]  # of the three films
    assert problem.items(guess) == pytest.approx([it * 3 / 10 for it in right])
    assert np.mean(problem.items(guess)) == pytest.approx(problem.score(guess)) == truth.mean()
    alone = own(tmp_path, {"train": given, "test": replace(test, groups=())})
    assert alone.items(guess) == truth.tolist()
    drawn = own(tmp_path, {"train": given})
    assert drawn.items(guess[: len(drawn.test)]) == []
    estimates = own(tmp_path, {"train": recordings(40), "test": recordings(10, seed=1)})
    assert estimates.items(guess[:, 0]) == []


def test_own_recordings_that_cannot_be_compared_on_are_refused(tmp_path: Path) -> None:
    given = recordings(40, classes=2)
    bare = replace(given, labels=None, classes=())
    with pytest.raises(DataError, match="train has no labels"):
        own(tmp_path, {"all": bare})
    with pytest.raises(DataError, match="test has no labels to score by"):
        own(tmp_path, {"train": given, "test": bare})
    with pytest.raises(DataError, match=r"All training samples \(32\) are of one class"):
        own(tmp_path, {"train": replace(given, labels=np.zeros(40, np.int64)), "test": given})
    with pytest.raises(DataError, match="nothing to fuse: the streams are audio"):
        own(tmp_path, {"all": replace(given, streams={"audio": given.streams["audio"]})})
    with pytest.raises(DataError, match="nothing to fuse: the streams are none"):
        own(tmp_path, {"all": replace(recordings(9, words=True), streams={})})


@pytest.mark.data("mosi-features")
def test_the_official_test_of_mosi_is_not_touched() -> None:  # CUBEMLP-C10
    official = read_mosi(fetch("mosi-features"))
    first, second = posed(0, task="mosi", labels="0", shifts="0"), posed(1, task="mosi", labels="0", shifts="0")
    for problem in (first, second):
        assert problem.test.ids == official["test"].ids
        assert np.array_equal(np.asarray(problem.test.labels), np.asarray(official["test"].labels))
        assert not videos(problem.valid) & (videos(problem.train) | videos(problem.test))
        assert sorted(problem.train.ids + problem.valid.ids) == sorted(official["train"].ids)
        assert {stream.lengths.max() for stream in problem.train.streams.values()} == {9}
        assert len(problem.items(np.eye(2, dtype=np.float32)[np.asarray(problem.test.labels)])) == len(
            videos(problem.test)
        )
    assert first.valid.ids != second.valid.ids


@pytest.mark.data("avec2019-ces")
def test_frames_of_a_sequence_are_in_one_split() -> None:
    problem = posed(0, task="ces", labels="0", shifts="0")
    train, valid, test = map(videos, parts(problem))
    assert [len(it) for it in (train, valid, test)] == [14, 6, 8]
    assert len(train | valid | test) == 28
    assert problem.settings == {"loss": "ccc"}
    assert problem.estimates is not None
    stream = problem.test.streams["visual-func"]
    assert stream.lengths.tolist() == [21] * len(problem.test)  # and the tenth is the estimate of the frame itself


def sequence(name: str, frames: int) -> CesSequence:
    # Each prediction tells which frame, system and target it is of.
    places = np.arange(frames)[:, None, None] + np.arange(len(SYSTEMS))[:, None] / 100 + np.arange(3) / 1000
    labels = np.arange(frames)[:, None] + np.arange(3) / 1000
    return CesSequence(
        name=name, language="de", labels=labels.astype(np.float32), predictions=places.astype(np.float32)
    )


def test_a_window_lies_around_its_frame_and_repeats_the_ends() -> None:
    found = frames_of_sequences([sequence("one", 7), sequence("two", 4)], every=3, reach=2, spacing=2)
    assert found.groups == ("one", "one", "one", "two", "two")
    assert len(set(found.ids)) == 5
    assert list(found.streams) == [name for name in SYSTEMS if name != "svr"]
    for system, stream in found.streams.items():
        frames = stream.values.reshape(5, 5, 3)
        centres = np.array([0, 3, 6, 0, 3])
        of_one = [[0, 0, 0, 2, 4], [0, 1, 3, 5, 6], [2, 4, 6, 6, 6]]
        expected = np.array([*of_one, [0, 0, 0, 2, 3], [0, 1, 3, 3, 3]])
        assert np.array_equal(np.floor(frames[..., 0]), expected)
        assert np.allclose(
            frames[:, 2] - centres[:, None] - np.arange(3) / 1000, SYSTEMS.index(system) / 100, atol=1e-5
        )
        assert np.allclose(np.asarray(found.labels)[:, 0], centres)


def test_joined_recordings_are_all_samples_in_turn() -> None:
    first, second = recordings(5, words=True), recordings(4, seed=1, words=True)
    both = join([first, second])
    assert both.ids == first.ids + second.ids
    assert both.words is not None
    assert both.words[5:] == second.words
    for place, part in ((2, first.take([2])), (6, second.take([1]))):
        for name, stream in part.streams.items():
            assert np.array_equal(both.streams[name][place], stream[0])


def test_scores_are_accuracy_or_mean_concordance(tmp_path: Path) -> None:
    classes = own(tmp_path, {"train": recordings(40, classes=2)})
    truth = np.asarray(classes.test.labels)
    assert classes.score(np.eye(2, dtype=np.float32)[truth]) == 1
    assert classes.score(np.eye(2, dtype=np.float32)[1 - truth]) == 0
    assert classes.score(np.tile(np.array([0.4, 0.6], np.float32), (len(truth), 1))) == pytest.approx(truth.mean())
    drawn = recordings(40)
    noise = numpy_generator(0, "noise").normal(size=40)
    two = replace(drawn, labels=np.stack([np.asarray(drawn.labels), noise], axis=1).astype(np.float32))
    problem = own(tmp_path, {"train": two})
    first, second = np.asarray(problem.test.labels).T
    guess = np.stack([first + 1, second / 2], axis=1)
    expected = [concordance(first, first + 1, variant="CES"), concordance(second, second / 2, variant="CES")]
    assert problem.score(guess) == pytest.approx(sum(expected) / 2)


def test_the_shuffled_control_gives_one_stream_to_other_samples_of_its_split(tmp_path: Path) -> None:
    problem = own(tmp_path, {"train": recordings(40, classes=2), "test": recordings(24, seed=1, classes=2)})
    done = shuffle(problem, "video", seed=0)
    for before, after in zip(parts(problem), parts(done), strict=True):
        assert replace(after, streams=before.streams) == before
        assert after.streams["audio"] is before.streams["audio"]
        first, second = before.streams["video"], after.streams["video"]
        assert np.array_equal(first.lengths > 0, second.lengths > 0)  # else a sample could be left without any
        frames = [sorted(tuple(stream[place].ravel()) for place in range(len(before))) for stream in (first, second)]
        assert frames[0] == frames[1]
        assert not np.array_equal(first.values, second.values)
    assert np.array_equal(
        shuffle(problem, "video", seed=0).train.streams["video"].values, done.train.streams["video"].values
    )
    assert not np.array_equal(
        shuffle(problem, "video", seed=1).test.streams["video"].values, done.test.streams["video"].values
    )
    with pytest.raises(ConfigError, match=r"no stream 'smell' to shuffle.* one of: audio, video"):
        shuffle(problem, "smell", seed=0)
