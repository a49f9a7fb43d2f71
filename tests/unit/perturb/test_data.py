"""The readers of GLUE, a pre-trained encoder for them, and the digits of the demo."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from modicum.core import catalogue
from modicum.errors import ConfigError, DataError
from modicum.perturb import data
from modicum.perturb.data import TASKS, Example, Problem, digits_problem, find_task, read, text_problem

WORDS = ["the", "cat", "sat", "on", "a", "mat", "dog", "ran", "far"]
RTE = "index\tsentence1\tsentence2\tlabel\n"


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    return folder


def test_quotation_marks_are_text(tmp_path: Path) -> None:
    text = RTE + '0\t"No, he said.\tHe said "no".\tentailment\n1\tIt rains."\tIt snows.\tnot_entailment\n'
    train, held_out = read(TASKS["rte"], write(tmp_path, {"train.tsv": text, "dev.tsv": text}))
    assert train == held_out
    assert train == [Example(0, '"No, he said.', 'He said "no".'), Example(1, 'It rains."', "It snows.")]


def test_the_original_rte_file_is_preferred_to_the_one_with_the_added_blank(tmp_path: Path) -> None:
    row = "0\t{}\tb\tentailment\n"
    files = {
        "train.tsv": RTE + row.format("changed"),
        "train_copy.tsv": RTE + row.format("original"),
        "dev.tsv": RTE + row.format("dev"),
    }
    train, held_out = read(TASKS["rte"], write(tmp_path, files))
    assert [example.first for example in (*train, *held_out)] == ["original", "dev"]


def test_single_sentences_without_a_header_are_joined_over_the_two_dev_files_of_cola(tmp_path: Path) -> None:
    raw = "cola_public/raw"
    files = {
        f"{raw}/in_domain_train.tsv": "gj04\t1\t\tA train row.\n",
        f"{raw}/in_domain_dev.tsv": "gj04\t0\t*\tAn in row.\n",
        f"{raw}/out_of_domain_dev.tsv": "clc95\t1\t\tAn out row.\n",
    }
    train, held_out = read(TASKS["cola"], write(tmp_path, files))
    assert train == [Example(1, "A train row.")]
    assert held_out == [Example(0, "An in row."), Example(1, "An out row.")]


def test_a_byte_order_mark_and_carriage_returns_do_not_reach_the_columns(tmp_path: Path) -> None:
    text = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t10\t11\tone\ttwo\r\n"
    train, _ = read(TASKS["mrpc"], write(tmp_path, {"msr-para-train.tsv": text, "msr-para-val.tsv": text}))
    assert train == [Example(1, "one", "two")]


def test_sts_rows_of_seven_and_of_nine_fields_have_their_texts_in_the_same_places(tmp_path: Path) -> None:
    text = "news\tf\t2012\t1\t4.25\ta\tb\nnews\tf\t2012\t2\t0.5\tc\td\tlicence\tmore\n"
    files = {"stsbenchmark/sts-train.csv": text, "stsbenchmark/sts-dev.csv": text}
    train, _ = read(TASKS["stsb"], write(tmp_path, files))
    assert train == [Example(4.25, "a", "b"), Example(0.5, "c", "d")]


def test_sts_files_of_glue_are_read_by_their_header(tmp_path: Path) -> None:
    text = (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
        "0\tnews\tf\t2012\t1\tnone\tnone\ta\tb\t3.800\n"
    )
    train, _ = read(TASKS["stsb"], write(tmp_path, {"train.tsv": text, "dev.tsv": text}))
    assert train == [Example(3.8, "a", "b")]


def test_the_text_of_sst_is_found_under_either_name(tmp_path: Path) -> None:
    files = {"train.tsv": "sentence\tlabel\nfine \t1\n", "dev.tsv": "label\tcontent\n0\tbad\n"}
    train, held_out = read(TASKS["sst2"], write(tmp_path, files))
    assert train == [Example(1, "fine ")]
    assert held_out == [Example(0, "bad")]


@pytest.mark.parametrize(
    ("task", "broken", "message"),
    [
        ("rte", "index\tsentence1\tlabel\n", r"train.tsv, line 1 has no column sentence2; its columns are index, sen"),
        ("rte", "", r"train.tsv, line 1 has no column label; its columns are none"),
        ("sst2", "label\ttext\n0\tbad\n", r"train.tsv, line 1 has no column sentence or content"),
        ("rte", RTE, r"train.tsv has no examples. Give a file with at least one row"),
        (
            "rte",
            RTE + "0\ta\tb\tentailment\n1\ta\tentailment\n",
            r"train.tsv, line 3 has 3 fields, expected 4. Correct",
        ),
        ("rte", RTE + "\n", r"train.tsv has no examples"),
        ("rte", RTE + "0\ta\t \tentailment\n", r"train.tsv, line 2 has an empty sentence or label. Correct or drop"),
        ("rte", RTE + "0\ta\tb\tmaybe\n", r"line 2 has the label 'maybe', which is none of entailment, not_entailment"),
        ("cola", "x\t1\t\ta\nx\t2\t\ta\n", r"train.tsv, line 2 has the label '2', which is none of 0, 1. Correct that"),
        ("cola", "x\t1\ta\n", r"train.tsv, line 1 has 3 fields, expected 4"),
        ("stsb", "score\tsentence1\tsentence2\n5.1\ta\tb\n", r"line 2 has the score '5.1', not a number from 0 to 5"),
        ("stsb", "score\tsentence1\tsentence2\nnan\ta\tb\n", r"line 2 has the score 'nan', not a number from 0 to 5"),
        ("stsb", "score\tsentence1\tsentence2\nhigh\ta\tb\n", r"line 2 has the score 'high'"),
    ],
)
def test_a_broken_file_is_named_with_its_line(task: str, broken: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(TASKS[task], write(tmp_path, {"train.tsv": broken, "dev.tsv": broken}))


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"dev.tsv": RTE})
    (tmp_path / "train.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"train.tsv, line 1 is not UTF-16 .* Save it as UTF-8"):
        read(TASKS["rte"], tmp_path)


def test_a_folder_without_the_files_is_told_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not hold the files of mrpc. It should hold train.tsv \+ dev.tsv or "):
        read(TASKS["mrpc"], tmp_path)


def test_an_unknown_task_is_told_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no task 'qnli'. Use --option task= one of rte, cola, mrpc, stsb, sst2"):
        find_task("qnli")


@pytest.mark.parametrize(
    ("name", "train", "held_out"),
    [
        pytest.param(
            name,
            Counter(train),
            Counter(held_out),
            marks=pytest.mark.data(TASKS[name].data_set),
            id=name,
        )
        for name, train, held_out in [
            ("rte", {0: 1249, 1: 1241}, {0: 146, 1: 131}),
            ("cola", {0: 8551 - 6023, 1: 6023}, {0: 1043 - 365 - 354, 1: 365 + 354}),
            ("mrpc", {0: 3576 - 2407, 1: 2407}, {0: 500 - 346, 1: 346}),
            ("sst2", {0: 29780, 1: 37569}, {0: 872 - 444, 1: 444}),
        ]
    ],
)
def test_the_real_files_have_the_known_labels(name: str, train: Counter[float], held_out: Counter[float]) -> None:
    parts = read(TASKS[name], catalogue.fetch(TASKS[name].data_set))
    assert [Counter(example.label for example in part) for part in parts] == [train, held_out]


@pytest.mark.data("glue-small/STS-B")
def test_the_real_sts_files_have_the_known_counts_and_scores_to_both_ends() -> None:
    parts = read(TASKS["stsb"], catalogue.fetch("glue-small/STS-B"))
    assert [len(part) for part in parts] == [5749, 1500]
    assert all({0, 5} <= {example.label for example in part} for part in parts)
    # A reader that counts from the end takes the licence fields for sentences.
    assert not any("Europe Media Monitor" in str(example.second) for part in parts for example in part)


@pytest.fixture
def rte(tmp_path: Path) -> Path:
    rows = "".join(f"{row}\tthe cat {WORDS[row % 9]}\ta dog {WORDS[row % 9]}\tentailment\n" for row in range(12))
    return write(tmp_path, {"train.tsv": RTE + rows, "dev.tsv": RTE + rows})


def test_seed_and_not_the_past_decide_the_drawn_examples_and_the_head(rte: Path, encoder: Path) -> None:
    def build(seed: int, size: int = 5) -> Problem:
        return text_problem(TASKS["rte"], rte, model=str(encoder), seed=seed, train_size=size, max_length=16)

    first, again, other = build(0), build(0), build(1)
    assert first.train == again.train != other.train
    assert len(first.train) == 5
    assert first.held_out == other.held_out
    assert first.train == build(0, size=7).train[:5], "a larger draw holds the smaller one"
    heads = [problem.model.state_dict()["classifier.weight"] for problem in (first, again, other)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_all_examples_are_used_when_the_size_is_0_and_they_keep_max_length_tokens(rte: Path, encoder: Path) -> None:
    problem = text_problem(TASKS["rte"], rte, model=str(encoder), seed=0, train_size=0, max_length=8)
    assert len(problem.train) == 12
    assert {len(example["input_ids"]) for example in problem.train} == {8}  # of 9: [CLS] 3 [SEP] 3 [SEP]


def test_a_checkpoint_in_half_precision_is_trained_in_single(rte: Path, encoder: Path) -> None:
    problem = text_problem(TASKS["rte"], rte, model=str(encoder), seed=0, train_size=0, max_length=16)
    assert {parameter.dtype for parameter in problem.model.parameters()} == {torch.float32}


def test_loading_a_model_says_nothing(rte: Path, encoder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text_problem(TASKS["rte"], rte, model=str(encoder), seed=0, train_size=0, max_length=16)
    assert capfd.readouterr() == ("", "")


def test_a_model_that_cannot_be_loaded_is_named(rte: Path) -> None:
    with pytest.raises(ConfigError, match=r"The model '.*' cannot be loaded \(.+\). Give a model hub id, a folder"):
        text_problem(TASKS["rte"], rte, model=str(rte), seed=0, train_size=0, max_length=16)


def test_more_examples_than_there_are_is_refused(rte: Path, encoder: Path) -> None:
    with pytest.raises(ConfigError, match=r"train_size is 13, but there are only 12 training examples. Write --option"):
        text_problem(TASKS["rte"], rte, model=str(encoder), seed=0, train_size=13, max_length=16)


def test_a_model_with_code_of_its_own_is_refused_and_runs_none(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # transformers asks by itself, on a terminal
    folder = tmp_path / "model"
    shutil.copytree(encoder, folder)
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: ...\n")
    classes = {"AutoConfig": "own.Own", "AutoModelForSequenceClassification": "own.Own"}
    settings = json.loads((folder / "config.json").read_text()) | {"auto_map": classes, "model_type": "own"}
    (folder / "config.json").write_text(json.dumps(settings))
    (tmp_path / "train.tsv").write_text("sentence\tlabel\nthe cat\t0\na dog\t1\n")
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\nthe cat\t0\n")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        text_problem(TASKS["sst2"], tmp_path, model=str(folder), seed=0, train_size=0, max_length=8)
    assert not (tmp_path / "ran").exists()


def build_digits(seed: int, *, train_size: int = 52) -> Problem:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "PRE_TRAINING", {"num_train_epochs": 1, "per_device_train_batch_size": 64})
        return digits_problem(seed, train_size=train_size)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return build_digits(0)


def pixels(problem: Problem) -> tuple[set[bytes], set[bytes]]:
    train, held_out = (
        {example["pixel_values"].numpy().tobytes() for example in part} for part in (problem.train, problem.held_out)
    )
    return train, held_out


def test_the_labelled_images_are_balanced_and_no_image_is_both_labelled_and_held_out(problem: Problem) -> None:
    counts = np.bincount([example["labels"] for example in problem.train])
    assert sorted(counts) == [10, 10, 10, 11, 11]
    train, held_out = pixels(problem)
    assert len(train) == 52
    assert not train & held_out
    images, labels = load_digits(return_X_y=True)
    classes = {
        int(label)
        for image, label in zip(images, labels, strict=True)
        if (image / 16).astype(np.float32).tobytes() in train
    }
    assert len(classes) == 5
    assert len(problem.train) + len(problem.held_out) == np.isin(labels, list(classes)).sum()


def test_the_seed_decides_the_classes_the_images_and_the_weights(problem: Problem) -> None:
    first, again, other = problem, build_digits(0), build_digits(1)
    assert pixels(first) == pixels(again) != pixels(other)
    for name, weight in first.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name])
    assert not torch.equal(*(problem.model.state_dict()["classifier.weight"] for problem in (first, other)))


def test_the_body_is_pre_trained_and_the_head_is_new(problem: Problem) -> None:
    weights = problem.model.state_dict()
    initial = data.tiny_vit(0, "initialisation").state_dict()
    assert torch.equal(weights["classifier.weight"], initial["classifier.weight"])
    assert not any(
        torch.equal(weights[name], initial[name]) for name in weights if name.endswith("attention.q_proj.weight")
    )


def test_a_demo_that_holds_nothing_out_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"train_size is 1000, but the demo has \d+ images and must hold some out"):
        digits_problem(0, train_size=1000)
