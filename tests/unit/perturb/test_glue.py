from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from modicum.core import catalogue
from modicum.errors import ConfigError, DataError
from modicum.perturb.glue import TASKS, Examples, find_task, read

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
    assert train == Examples(
        first=('"No, he said.', 'It rains."'), second=('He said "no".', "It snows."), labels=(0, 1)
    )


def test_the_original_rte_file_is_preferred_to_the_one_with_the_added_blank(tmp_path: Path) -> None:
    row = "0\t{}\tb\tentailment\n"
    files = {
        "train.tsv": RTE + row.format("changed"),
        "train_copy.tsv": RTE + row.format("original"),
        "dev.tsv": RTE + row.format("dev"),
    }
    train, held_out = read(TASKS["rte"], write(tmp_path, files))
    assert (train.first, held_out.first) == (("original",), ("dev",))


def test_single_sentences_without_a_header_are_joined_over_the_two_dev_files_of_cola(tmp_path: Path) -> None:
    raw = "cola_public/raw"
    files = {
        f"{raw}/in_domain_train.tsv": "gj04\t1\t\tA train row.\n",
        f"{raw}/in_domain_dev.tsv": "gj04\t0\t*\tAn in row.\n",
        f"{raw}/out_of_domain_dev.tsv": "clc95\t1\t\tAn out row.\n",
    }
    train, held_out = read(TASKS["cola"], write(tmp_path, files))
    assert train == Examples(first=("A train row.",), second=None, labels=(1,))
    assert held_out == Examples(first=("An in row.", "An out row."), second=None, labels=(0, 1))


def test_a_byte_order_mark_and_carriage_returns_do_not_reach_the_columns(tmp_path: Path) -> None:
    text = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t10\t11\tone\ttwo\r\n"
    train, _ = read(TASKS["mrpc"], write(tmp_path, {"msr-para-train.tsv": text, "msr-para-val.tsv": text}))
    assert train == Examples(first=("one",), second=("two",), labels=(1,))


def test_sts_rows_of_seven_and_of_nine_fields_have_their_texts_in_the_same_places(tmp_path: Path) -> None:
    text = "news\tf\t2012\t1\t4.25\ta\tb\nnews\tf\t2012\t2\t0.5\tc\td\tlicence\tmore\n"
    files = {"stsbenchmark/sts-train.csv": text, "stsbenchmark/sts-dev.csv": text}
    train, _ = read(TASKS["stsb"], write(tmp_path, files))
    assert train == Examples(first=("a", "c"), second=("b", "d"), labels=(4.25, 0.5))


def test_sts_files_of_glue_are_read_by_their_header(tmp_path: Path) -> None:
    text = (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
        "0\tnews\tf\t2012\t1\tnone\tnone\ta\tb\t3.800\n"
    )
    train, _ = read(TASKS["stsb"], write(tmp_path, {"train.tsv": text, "dev.tsv": text}))
    assert train == Examples(first=("a",), second=("b",), labels=(3.8,))


def test_the_text_of_sst_is_found_under_either_name(tmp_path: Path) -> None:
    files = {"train.tsv": "sentence\tlabel\nfine \t1\n", "dev.tsv": "label\tcontent\n0\tbad\n"}
    train, held_out = read(TASKS["sst2"], write(tmp_path, files))
    assert train == Examples(first=("fine ",), second=None, labels=(1,))
    assert held_out == Examples(first=("bad",), second=None, labels=(0,))


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
        ("rte", RTE + "\n", r"train.tsv, line 2 has 0 fields, expected 4"),
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
    with pytest.raises(DataError, match=r"train.tsv cannot be read as a table .* Save it as UTF-8 text"):
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
    assert [Counter(part.labels) for part in parts] == [train, held_out]
    for part in parts:
        assert len(part.first) == len(part.labels)
        assert part.second is None or len(part.second) == len(part.labels)


@pytest.mark.data("glue-small/STS-B")
def test_the_real_sts_files_have_the_known_counts_and_scores_to_both_ends() -> None:
    parts = read(TASKS["stsb"], catalogue.fetch("glue-small/STS-B"))
    assert [len(part.labels) for part in parts] == [5749, 1500]
    assert all(min(part.labels) == 0 and max(part.labels) == 5 for part in parts)
    # A reader that counts from the end takes the licence fields for sentences.
    assert not any("Europe Media Monitor" in text for part in parts for text in part.second or ())
