"""The commands on several modalities as a user meets them."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tests.e2e.in_process import interrupted_at, run_here
from tests.e2e.stopping import interruptible
from tests.unit.fusion.made_up import recordings, write_encoder

from modicum.fusion import FusionEnsemble, Ragged, Recordings, load_recordings, save_recordings

TINY = ("--epochs", "1", "--channels", "8", "--encoder", "linear", "--batch", "16")
ONE = (*TINY, "--seeds", "1")
Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


def padded(stream: Ragged) -> np.ndarray:
    frames = np.zeros((len(stream), int(stream.lengths.max()), stream.size))
    for place, length in enumerate(stream.lengths):
        frames[place, :length] = stream[place]
    return frames


def table(part: Recordings) -> dict[str, Any]:
    """A split as MMSA pickles it."""
    assert part.words is not None
    return {
        "raw_text": [" ".join(words) for words in part.words],
        "id": [name.replace("[", "$_$").removesuffix("]") for name in part.ids],
        "text": np.ones((len(part), 4, 2)) + np.asarray(part.labels)[:, None, None],
        "audio": padded(part.streams["audio"]),
        "vision": padded(part.streams["video"]),
        "audio_lengths": part.streams["audio"].lengths,
        "vision_lengths": part.streams["video"].lengths,
        "regression_labels": np.asarray(part.labels),
    }


def write_pickle(path: Path, **changes: Any) -> None:
    """Write a whole MMSA pickle, of which parts of the training split are changed."""
    drawn = recordings(12, words=True)
    path.write_bytes(pickle.dumps({"train": table(drawn) | changes, "test": table(recordings(6, seed=1, words=True))}))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pickle of MMSA, recordings of two classes, and a model of each."""
    folder = tmp_path_factory.mktemp("fusion")
    splits = {name: recordings(count, seed=count, words=True) for name, count in {"train": 24, "test": 8}.items()}
    (folder / "mosi.pkl").write_bytes(pickle.dumps({name: table(part) for name, part in splits.items()}))
    classes = {"train": recordings(32, classes=2), "test": recordings(9, seed=1, classes=2)}
    save_recordings(folder / "classes.npz", classes)
    for name, command in {
        "converted.json": ("convert", "mosi.pkl", "--out", "mosi.safetensors", "--json"),
        "told.json": ("train", "mosi.safetensors", "--out", "model", *TINY, "--seeds", "2", "--json"),
        "classes.txt": ("train", "classes.npz", "--out", "classifier", *ONE),
    }.items():
        done = run_here("fusion", *command, cwd=folder)
        assert done.returncode == 0, done.stderr
        (folder / name).write_text(done.stdout)
        (folder / f"said-{name}.txt").write_text(done.stderr)
    return folder


@pytest.fixture
def run(place: Path) -> Run:
    return lambda *arguments: run_here("fusion", *arguments, cwd=place)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def refused(done: Done, *said: str, status: int = 2) -> None:
    assert (done.returncode, done.stdout) == (status, ""), done
    message = " ".join(done.stderr.split())
    for part in said:
        assert part in message, message
    what = done.stderr[done.stderr.index("modicum: ") :]
    assert len(what.splitlines()) == 2, "one sentence of what is wrong, one of what to do about it"


def test_converting_tells_what_a_pickle_holds(place: Path) -> None:
    told = json.loads((place / "converted.json").read_text())
    assert (told["file"], told["format"]) == ("mosi.safetensors", "mmsa")
    assert told["splits"]["train"]["samples"] == 24
    assert told["splits"]["train"]["streams"]["audio"] == {"size": 3, "frames": [2, 6], "absent": 0}
    assert told["splits"]["test"]["words"]
    given, found = recordings(8, seed=8, words=True), load_recordings(place / "mosi.safetensors")["test"]
    assert ([it.replace("$_$", "[") + "]" for it in found.ids], found.words) == (list(given.ids), given.words)
    assert np.array_equal(found.streams["video"].values, given.streams["video"].values)


def test_converting_what_was_converted_changes_nothing(run: Run, tmp_path: Path) -> None:
    done = run("convert", "mosi.safetensors", "--out", tmp_path / "again.npz")
    assert done.returncode == 0, done.stderr
    assert "train: 24 samples, targets, words" in done.stdout
    assert run("convert", tmp_path / "again.npz", "--out", tmp_path / "third.safetensors").returncode == 0
    first, third = (path.read_bytes() for path in (tmp_path / "third.safetensors", tmp_path / "again.npz"))
    assert first != third
    assert load_recordings(tmp_path / "third.safetensors").keys() == {"train", "test"}


def test_training_tells_of_each_seed_and_of_their_spread(place: Path) -> None:
    told = json.loads((place / "told.json").read_text())
    assert (told["folder"], told["seeds"]) == ("model", [0, 1])
    assert {"mae", "pearson", "acc7", "acc2_has0", "acc2_non0"} <= set(told["test"])
    mae = told["test"]["mae"]
    assert mae["mean"] == pytest.approx(sum(mae["values"]) / 2)
    assert mae["values"][0] != mae["values"][1]
    said = (place / "said-told.json.txt").read_text().splitlines()
    assert [line.partition(",")[0] for line in said] == ["Seed 0: epoch 1 of 1", "Seed 1: epoch 1 of 1"]
    text = (place / "classes.txt").read_text()
    assert text.startswith("1 system: classifier\n")
    assert "accuracy: " in text


def test_a_model_is_a_folder_without_a_pickle(place: Path) -> None:
    files = {path.suffix for path in (place / "model").rglob("*") if path.is_file()}
    assert files == {".json", ".safetensors"}
    test = load_recordings(place / "mosi.safetensors")["test"]
    ensemble = FusionEnsemble.load(place / "model")
    told = json.loads((place / "told.json").read_text())
    assert ensemble.score(test)["mae"].mean == pytest.approx(told["test"]["mae"]["mean"], abs=1e-6)


def test_a_test_split_is_predicted_row_by_row(run: Run, place: Path, tmp_path: Path) -> None:
    done = run("predict", "mosi.safetensors", "--model", "model")
    assert (done.returncode, done.stderr) == (0, "")
    test = load_recordings(place / "mosi.safetensors")["test"]
    assert [row["id"] for row in rows(done.stdout)] == list(test.ids)
    found = [float(row["estimate"]) for row in rows(done.stdout)]
    assert found == pytest.approx(FusionEnsemble.load(place / "model").predict(test), abs=1e-5)
    written = run("predict", "mosi.safetensors", "--model", "model", "--out", tmp_path / "found.csv")
    assert (written.stdout, written.stderr) == ("", f"8 rows: {tmp_path / 'found.csv'}\n")
    assert (tmp_path / "found.csv").read_text(encoding="utf-8") == done.stdout


def test_a_pickle_is_predicted_as_what_was_converted_from_it(run: Run) -> None:
    converted = run("predict", "mosi.safetensors", "--model", "model")
    assert run("predict", "mosi.pkl", "--model", "model").stdout == converted.stdout


def test_json_is_alone_on_stdout(run: Run, place: Path) -> None:
    done = run("predict", "mosi.pkl", "--model", "model", "--json")
    assert "padding at the back" in done.stderr or "no padding" in done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 8
    assert {type(line["estimate"]) for line in lines} == {float}
    done = run("predict", "mosi.pkl", "--model", "model", "--json", "--out", "also.csv")
    assert json.loads(done.stdout) == {"file": "also.csv", "rows": 8}
    assert [float(row["estimate"]) for row in rows((place / "also.csv").read_text())] == [
        line["estimate"] for line in lines
    ]


def test_arrays_of_ones_own_become_a_file_whose_integer_labels_are_classes(run: Run, tmp_path: Path) -> None:
    streams = {"audio": np.ones((16, 1, 3)), "video": np.ones((16, 1, 2))}
    own = Recordings.from_arrays(streams, ids=[f"v$_${it}" for it in range(16)], labels=[0, 1] * 8)
    save_recordings(tmp_path / "mine.npz", {"train": own, "test": own.take([2, 3])})
    told = run("convert", tmp_path / "mine.npz", "--out", tmp_path / "again.npz").stdout
    assert "    audio: 1 frame of 3 values\n" in told
    told = run("train", tmp_path / "mine.npz", "--out", tmp_path / "model", *ONE).stdout
    assert "On the test split:\n  accuracy: 0.5000\n" in told  # of one seed there is no spread
    found = rows(run("predict", tmp_path / "mine.npz", "--model", tmp_path / "model").stdout)
    assert [list(row) for row in found] == [["id", "predicted", "0", "1"]] * 2
    assert [row["id"] for row in found] == ["v$_$2", "v$_$3"]
    assert all(row["predicted"] == max("01", key=lambda it: float(row[it])) for row in found)


def test_classes_come_with_their_probabilities(run: Run) -> None:
    found = rows(run("predict", "classes.npz", "--model", "classifier").stdout)
    assert list(found[0]) == ["id", "predicted", "mood 0", "mood 1"]
    for row in found:
        numbers = [float(row["mood 0"]), float(row["mood 1"])]
        assert sum(numbers) == pytest.approx(1, abs=2e-6)
        assert row["predicted"] == f"mood {int(np.argmax(numbers))}"


def test_what_a_stream_that_is_left_out_holds_does_not_matter(
    run: Run, place: Path, tmp_path: Path
) -> None:  # CUBEMLP-C7
    test = load_recordings(place / "classes.npz")["test"]
    video = test.streams["video"]
    noise = replace(test, streams={**test.streams, "video": replace(video, values=video.values * 9 - 4)})
    save_recordings(tmp_path / "noise.npz", {"test": noise})
    options = ("--model", "classifier", "--split", "test")
    assert run("predict", "classes.npz", *options).stdout != run("predict", tmp_path / "noise.npz", *options).stdout
    without = [
        run("predict", file, *options, "--without", "video").stdout for file in ("classes.npz", tmp_path / "noise.npz")
    ]
    assert without[0] == without[1]


def test_degrading_draws_a_curve_and_tells_it(run: Run, tmp_path: Path) -> None:
    options = ("--model", "classifier", "--draws", "2")
    done = run("degrade", "classes.npz", *options, "--out", tmp_path / "curve.svg", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["metric"] == "accuracy"
    assert [it["probability"] for it in told["missing"]] == [it / 10 for it in range(10)]
    assert [it["streams"] for it in told["alone"]] == [["audio"], ["video"], ["audio", "video"]]
    assert told["missing"][0]["score"] == pytest.approx(told["alone"][-1]["score"])
    assert "<svg" in (tmp_path / "curve.svg").read_text()
    assert str(tmp_path / "curve.svg") in done.stderr
    words = run("degrade", "classes.npz", *options, "--out", tmp_path / "curve.svg", "--metric", "f1_macro")
    assert words.stdout.startswith("f1_macro, mean of the systems\n")


def test_text_is_read_by_an_encoder(run: Run, tmp_path: Path) -> None:
    place = write_encoder(tmp_path)
    streams = ("--stream", "audio", "--stream", "video")
    done = run("train", "mosi.safetensors", "--out", tmp_path / "model", *ONE, *streams, "--text", place)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(place)  # the folder stands alone
    predicted = run("predict", "mosi.safetensors", "--model", tmp_path / "model")
    assert len(rows(predicted.stdout)) == 8
    assert predicted.stderr == "The model was trained without the features text: they are not used.\n"
    silent = run("predict", "mosi.safetensors", "--model", tmp_path / "model", "--without", "text")
    assert silent.stdout != predicted.stdout


def test_targets_are_scored_by_what_is_asked_for(run: Run, tmp_path: Path) -> None:
    options = ("--stream", "audio", "--stream", "video", "--task", "depression", "--json")
    done = run("train", "mosi.safetensors", "--out", tmp_path / "model", *ONE, *options)
    assert {"ccc", "rmse"} <= set(json.loads(done.stdout)["test"])


@pytest.mark.parametrize("name", ["all", "test", "valid"])
def test_what_is_trained_on_is_not_scored(run: Run, tmp_path: Path, name: str) -> None:
    save_recordings(tmp_path / "one.npz", {name: recordings(24, classes=2)})
    done = run("train", tmp_path / "one.npz", "--out", tmp_path / "model", *ONE, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["test"] == {}


def test_values_that_are_not_finite_are_counted(run: Run, tmp_path: Path) -> None:
    values = padded(recordings(12, words=True).streams["video"])
    first, second = np.flatnonzero(recordings(12, words=True).streams["video"].lengths > 1)[:2]
    values[first, 0, 0], values[second, 1, 1] = -np.inf, np.nan
    write_pickle(tmp_path / "covarep.pkl", vision=values)
    done = run("convert", tmp_path / "covarep.pkl", "--out", tmp_path / "covarep.npz")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("2 values of video are not finite, and 0 now") == 1
    again = run("convert", tmp_path / "covarep.npz", "--out", tmp_path / "again.npz")
    assert "train, video: 2 values were not finite and are 0." in again.stderr


class Code:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch pwned",)


def write_spoiled(path: Path, splits: dict[str, Recordings], **arrays: np.ndarray) -> None:
    """Write recordings of which some arrays are others, as no `Recordings` can have them."""
    save_recordings(path, splits)
    with np.load(path) as file:
        spoiled = {**file, **arrays}
    np.savez(path, **spoiled)


@pytest.fixture(scope="module")
def bad(place: Path) -> Path:
    """The same folder, with files that are not as they should be."""
    drawn = recordings(12, words=True)
    labels, texts = np.asarray(drawn.labels), table(drawn)["raw_text"]
    (place / "code.pkl").write_bytes(pickle.dumps({"train": table(drawn) | {"id": Code()}}))
    (place / "cut.pkl").write_bytes(pickle.dumps(table(drawn))[:500])
    write_pickle(place / "lengths.pkl", audio=padded(drawn.streams["audio"])[:11], audio_lengths=np.ones(11, int))
    write_pickle(place / "labels.pkl", regression_labels=np.where(np.arange(12) == 4, 7, labels))
    nothing = {name: np.zeros((12, 4, 2)) for name in ("text", "audio", "vision")}
    write_pickle(place / "empty.pkl", **nothing, raw_text=["", *texts[1:]])
    for name, intervals in {"gap.csd": None, "short.csd": np.ones((1, 2))}.items():
        with h5py.File(place / name, "w") as file:
            file["covarep/data/film/features"] = np.ones((2, 3))
            if intervals is not None:
                file["covarep/data/film/intervals"] = intervals
    part = recordings(16, classes=2)
    save_recordings(place / "bare.npz", {"train": replace(part, labels=None, classes=())})
    save_recordings(place / "range.npz", {"train": replace(part, labels=np.arange(16))})
    targets = replace(part, labels=np.ones(16, np.float32), classes=())
    write_spoiled(place / "nan.npz", {"train": targets}, **{"0.labels": np.full(16, np.nan, np.float32)})
    save_recordings(place / "none.npz", {"train": part, "test": part.take([])})
    save_recordings(place / "several.npz", {"first": part, "second": part})
    other = replace(part, streams={**part.streams, "audio": Ragged.of([np.ones((2, 5))] * 16, 5)})
    save_recordings(place / "other.npz", {"train": part, "test": other})
    wild = part.streams["audio"].values * np.float32(np.inf)
    write_spoiled(place / "wild.npz", {"train": part, "test": part}, **{"1.0.values": wild})
    void = {name: Ragged.of([np.ones((int(it != 3), 2)) for it in range(16)], 2) for name in ("audio", "video")}
    save_recordings(place / "void.npz", {"train": replace(part, streams=void)})
    save_recordings(place / "silent.npz", {"train": replace(part, streams={})})
    save_recordings(place / "deaf.npz", {"test": replace(part, streams={"video": part.streams["video"]})})
    (place / "notes.txt").write_text("so it is")
    (place / "junk.npz").write_bytes(b"PK\x03\x04 and no more")
    np.savez(place / "foreign.npz", x=np.ones(3))
    (place / "hollow").mkdir()
    shutil.copytree(place / "classifier", place / "resized")
    config = place / "resized" / "seed-0" / "model" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"d_ins": [9, 2, 8]}))
    return place


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("convert code.pkl --out new.npz", "may hold only arrays and plain containers, but it asks for posix.system"),
        ("convert cut.pkl --out new.npz", "cut.pkl is not a complete pickle"),
        ("convert lengths.pkl --out new.npz", "lengths.pkl, train has different numbers of samples in its streams"),
        (
            "convert labels.pkl --out new.npz",
            "row 4, is 7.0, which is not on the scale from -3.0 to 3.0: the sample",
        ),
        ("convert empty.pkl --out new.npz", "sample 'film0$_$0' (row 0) has no word, and no frame with a finite value"),
        ("convert gap.csd --out new.npz", "gap.csd, film: intervals are missing"),
        ("convert short.csd --out new.npz", "there are 1 intervals for features of shape (2, 3)"),
        ("convert notes.txt --out new.npz", "ends in '.txt'. Give one of: mmsa (a pickle of MMSA"),
        ("convert hollow --out new.npz", "is a folder without a file that is known"),
        ("convert nowhere --out new.npz", "nowhere does not exist"),
        ("convert junk.npz --out new.npz", "junk.npz is not a complete"),
        ("convert foreign.npz --out new.npz", "foreign.npz holds no recordings"),
        ("convert classes.npz --out new.txt", "ends in .safetensors or .npz"),
        ("convert classes.npz --out hollow/no/new.npz", "cannot be written (No such file or directory)"),
        ("convert classes.npz --out new.npz --format mmsdk", "There is no format 'mmsdk'. Use auto or one of: mmsa,"),
        ("convert classes.npz --out new.npz --format misa", "classes.npz is not a complete pickle"),
        ("convert classes.npz --out new.npz --max-gigabytes nan", "--max-gigabytes is nan. Give a number above 0"),
        (
            "convert classes.npz --out new.npz --max-gigabytes 1e-9",
            "If you trust the file, write a larger --max-gigabytes",
        ),
        ("train classes.npz --out model", "model is there already and not an empty folder. Name a new one"),
        ("train classes.npz --out notes.txt", "notes.txt is there already and not an empty folder"),
        ("train bare.npz --out new", "The split train has no labels to learn from"),
        ("train range.npz --out new", "not a class from 0 to 1"),
        ("train nan.npz --out new", "is nan, not a finite number"),
        ("train none.npz --out new", "The split test has no sample"),
        ("train several.npz --out new", "There are the splits first, second, and which to train on is not given"),
        (
            "train other.npz --out new",
            "test has the streams audio of 5 values, video of 2 values, and train audio of 3",
        ),
        ("train wild.npz --out new", "frames of audio have a value that is not finite, the first in film0[0]"),
        ("train void.npz --out new", "1 samples have no frame of any modality, the first is film0[3]"),
        ("train silent.npz --out new", "The recordings have no stream of features"),
        ("train classes.npz --out new --stream smell", "no stream 'smell'. Write --stream with one of: audio, video"),
        ("train classes.npz --out new --stream audio", "There is nothing to mix: the only stream is audio."),
        ("train classes.npz --out new --per-word smell", "There is no stream 'smell' to have a frame for each word"),
        ("train classes.npz --out new --device abacus", "torch cannot use the device 'abacus'"),
        ("train classes.npz --out new --seeds 0", "--seeds is 0. Give 1 or more"),
        ("train classes.npz --out new --seed -1", "--seed is -1. Give 0 or more"),
        ("train classes.npz --out new --rate nan", "--rate is nan"),
        ("train classes.npz --out new --batch 0", "--batch is 0"),
        ("train classes.npz --out new --channels 0", "--channels is 0. Give 2 or more"),
        ("train classes.npz --out new --channels 1", "--channels is 1. Give 2 or more"),
        ("train classes.npz --out new --modality-dropout 1", "--modality-dropout is 1.0"),
        ("train classes.npz --out new --text nowhere/at/all", "The model 'nowhere/at/all' cannot be loaded"),
        ("train mosi.safetensors --out new --text offline", "have features of their text"),
        ("predict classes.npz --model nowhere", "There is no folder nowhere"),
        ("predict classes.npz --model hollow", "hollow/system.json cannot be read"),
        ("predict classes.npz --model resized", "are not those of its config.json"),
        ("predict deaf.npz --model classifier", "takes the streams audio, video, but the recordings have video"),
        ("predict other.npz --model classifier", "A frame of audio has 5 values, but the model takes 3"),
        ("predict none.npz --model classifier", "The split test has no sample"),
        ("predict several.npz --model classifier", "The source has several splits. Write --split with one of: first"),
        ("predict classes.npz --model classifier --split dev", "There is no split 'dev'"),
        ("predict classes.npz --model classifier --without smell", "The model has no stream 'smell'. It has: audio,"),
        ("predict classes.npz --model classifier --without audio --without video", "have no frame of any modality"),
        ("predict classes.npz --model classifier --device abacus", "torch cannot use the device 'abacus'"),
        ("predict classes.npz --model classifier --out hollow", "hollow is a folder"),
        ("predict classes.npz --model classifier --out no/found.csv", "no/found.csv cannot be written (No such file"),
        ("predict classes.npz --model classifier --out classes.npz", "--out classes.npz is a file that is read"),
        ("predict mosi.safetensors --model model --out ./mosi.safetensors", "--out mosi.safetensors is a file that is"),
        (
            "predict classes.npz --model classifier --out classifier/found.csv",
            "is in classifier, a folder that is read",
        ),
        ("convert classes.npz --out classes.npz", "--out classes.npz is a file that is read"),
        ("train hollow --out hollow/new", "--out hollow/new is in hollow, a folder that is read"),
        ("degrade classes.npz --model classifier --out classifier/a.png", "is in classifier, a folder that is read"),
        ("degrade bare.npz --model classifier --split train --out new.png", "no labels to score by"),
        ("degrade classes.npz --model classifier --out new.txt", "A picture is a .png, .svg, .pdf file, got new.txt"),
        ("degrade classes.npz --model classifier --out new.png --draws 0", "--draws is 0"),
        ("degrade classes.npz --model classifier --out new.png --stream smell", "There is no modality 'smell'"),
        ("degrade classes.npz --model classifier --out new.png --metric mae", "The model has no score 'mae'"),
    ],
)
def test_nonsense_is_two_sentences_and_status_2(bad: Path, arguments: str, said: str) -> None:
    before = sorted(bad.rglob("*"))
    words = arguments.split(" ")
    shorter = ONE if words[0] == "train" else ()
    refused(run_here("fusion", words[0], *shorter, *words[1:], cwd=bad), said)
    assert sorted(bad.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments",
    [
        "convert nowhere --out new.npz",
        "train classes.npz --out new --seeds 0",
        "train classes.npz --out new --stream smell",
        "train nowhere --out new",
        "predict classes.npz --model nowhere",
        "degrade classes.npz --model classifier --out no/new.png",
    ],
)
def test_a_wrong_argument_is_refused_before_torch_is_imported(bad: Path, arguments: str) -> None:
    script = """
import sys
sys.modules.update(dict.fromkeys(("torch", "transformers", "sklearn")))  # an import of them raises
from modicum.cli.main import run
run()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, "fusion", *arguments.split(" ")], cwd=bad, capture_output=True, text=True
    )
    refused(done)


def test_a_training_that_diverges_leaves_nothing(run: Run, tmp_path: Path) -> None:
    done = run("train", "classes.npz", "--out", tmp_path / "model", *ONE, "--rate", "1e30")
    refused(done, "The validation loss was finite in none of 1 epochs. Lower the learning rate", status=1)
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_training_leaves_nothing(run: Run, tmp_path: Path) -> None:
    with interrupted_at("Seed 0: epoch 1 of 1"):
        done = run("train", "classes.npz", "--out", tmp_path / "model", *TINY, "--seeds", "1000")
    assert (done.returncode, done.stdout) == (130, "")
    seed, stopped = done.stderr.splitlines()
    assert seed.startswith("Seed 0: ")
    assert stopped == "Stopped. Nothing was written: the same command begins again."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("out", "command"),
    [
        ("found.csv", ("predict", "mosi.safetensors", "--model", "model")),
    ],
)
def test_a_kill_while_files_are_written_leaves_none_that_is_taken_for_whole(
    run: Run, place: Path, tmp_path: Path, out: str, command: tuple[str, ...]
) -> None:
    target = tmp_path / "out" / out
    target.parent.mkdir()
    with interruptible("fusion", *command, "--out", target, cwd=place) as running:
        while running.poll() is None and not any(target.parent.iterdir()):
            time.sleep(0.0005)
        running.kill()
    killed = contents(target)  # nothing, or all of it where the kill came too late
    whole = tmp_path / f"whole-{out}"
    assert run(*command, "--out", whole).returncode == 0
    assert killed in ({}, contents(whole))
    if not killed:
        assert run(*command, "--out", target).returncode == 0
    assert contents(target) == contents(whole)


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(it for it in path.rglob("*") if it.is_file())
    return {str(it.relative_to(path)): it.read_bytes() for it in files}


def test_help_names_each_command(run: Run) -> None:
    text = run("--help").stdout
    assert set(re.findall(r"convert|train|predict|degrade", text)) == {"convert", "train", "predict", "degrade"}
