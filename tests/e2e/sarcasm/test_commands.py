"""The commands on sarcasm as a user meets them."""

from __future__ import annotations

import json
import math
import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.e2e.in_process import interrupted_at
from tests.e2e.sarcasm.program import ARABIC, ENGLISH, KNOWN, UNSEEN, Run, write

from modicum.sarcasm.comparison import make_tiny_encoder
from modicum.sarcasm.configuration import Settings
from modicum.sarcasm.data.examples import CATEGORIES, Example, Pair
from modicum.sarcasm.fitting import fit
from modicum.sarcasm.system import SarcasmSystem


def test_training_makes_a_folder_and_tells_of_it(place: Path) -> None:
    told = json.loads((place / "told.json").read_text())
    assert told["folder"] == "model"
    assert set(told["languages"]) == {"en", "ar"}
    assert told["languages"]["en"]["texts"] == told["languages"]["ar"]["texts"] == 80
    assert (told["rule"], told["pairs"], told["categories"]) == ("oof_f1", True, True)
    fitted = fit(KNOWN, Settings(folds=2))
    assert fitted.margins is not None
    for language in ("en", "ar"):
        chosen = [margin for it, margin in zip(fitted.held, fitted.margins, strict=True) if it.language == language]
        right, rephrased = sum(it > 0 for it in chosen), sum(not math.isnan(it) for it in chosen)
        assert told["languages"][language]["held-out accuracy of pairs"] == pytest.approx(right / rephrased)
    assert (told["preset"], told["why"]) == (fitted.system.preset, fitted.system.why)
    assert (place / "said.txt").read_text().splitlines() == [
        "Fitting n-grams to choose the preset",
        told["why"],
        "Fitting part 1 of 2",
        "Fitting part 2 of 2",
        "Fitting all examples",
    ]
    assert {path.name for path in (place / "model").iterdir()} == {"system.json", "model"}


def test_training_says_what_its_scores_are_worth(run: Run, tmp_path: Path) -> None:
    done = run("train", "english.csv", "--out", tmp_path / "m", "--folds", "2", "--preset", "plain", "--rule", "half")
    assert done.status == 0, done.said
    assert "en: 60 held-out texts" in done.out
    assert "(on texts that the threshold was chosen on: it flatters)" in done.out
    assert "of text and rephrase the sarcastic one is found in" in done.out
    assert SarcasmSystem.load(tmp_path / "m").decision.rule == "half"


def test_texts_like_those_to_be_read_choose_the_preset(run: Run, place: Path, tmp_path: Path) -> None:
    later = "".join(f"@name{number} #tag{number} https://t.co/{number} 12345\n" for number in range(100))
    for name, encoding in (("later.csv", "utf-8"), ("other.csv", "utf-16")):
        (tmp_path / name).write_text(f"text\n{later}", encoding=encoding)
        out = tmp_path / f"of {name}"
        done = run("train", "english.csv", "--folds", "2", "--like", tmp_path / name, "--json", "--out", out)
        assert done.status == 0, done.said
        told = json.loads(done.out)
        assert told["preset"] == SarcasmSystem.load(out).preset == "modicum"
        assert told["why"].startswith(
            "The 100 texts like those to be read are told from training texts (AUC 1.00 in en)"
        )


def test_a_file_comes_back_with_probabilities_labels_and_categories(run: Run, place: Path) -> None:
    done = run("predict", "new.csv", "--model", "model")
    assert (done.status, done.said) == (0, "")
    rows = done.rows()
    assert list(rows[0]) == ["text", "dialect", "probability", "threshold", "predicted", "categories"]
    assert [row["text"] for row in rows] == [it.text for it in UNSEEN]
    readings = SarcasmSystem.load(place / "model").read(UNSEEN)
    assert [float(row["probability"]) for row in rows] == pytest.approx(readings.probabilities, abs=1e-6)
    assert [int(row["predicted"]) for row in rows] == readings.labels.tolist()
    assert {name for row in rows for name in row["categories"].split()} <= set(CATEGORIES)
    assert not any(row["categories"] for row in rows if row["predicted"] == "0")
    assert all((float(row["probability"]) >= float(row["threshold"])) == (row["predicted"] == "1") for row in rows)


def test_a_label_can_be_found_again_from_what_is_written(run: Run, place: Path, tmp_path: Path) -> None:
    system = SarcasmSystem.load(place / "model")
    above = float(np.nextafter(system.read(UNSEEN).probabilities[0], 1))  # of an English text
    replace(system, decision=replace(system.decision, thresholds={"en": above, "ar": 0.0})).save(tmp_path / "m")
    rows = run("predict", "new.csv", "--model", tmp_path / "m").rows()
    assert [rows[0]["predicted"], *(row["predicted"] for row in rows[10:])] == ["0", *["1"] * 10]
    told = [json.loads(it) for it in run("predict", "new.csv", "--model", tmp_path / "m", "--json").out.splitlines()]
    for row in [*rows, *told]:
        assert int(float(row["probability"]) >= float(row["threshold"])) == int(row["predicted"])


def test_the_same_goes_to_a_file(run: Run, tmp_path: Path) -> None:
    printed = run("predict", "new.csv", "--model", "model").out
    done = run("predict", "new.csv", "--model", "model", "--out", tmp_path / "found.csv")
    assert (done.status, done.out) == (0, "")
    assert done.said == f"20 rows: {tmp_path / 'found.csv'}\n"
    assert (tmp_path / "found.csv").read_text(encoding="utf-8") == printed
    done = run("predict", "new.csv", "--model", "model", "--out", tmp_path / "found.csv", "--json")
    assert json.loads(done.out) == {"file": str(tmp_path / "found.csv"), "rows": 20}


def test_json_is_alone_on_stdout(run: Run) -> None:
    done = run("predict", "new.csv", "--model", "model", "--json", "--explain")
    assert done.said == ""
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["text"] for row in rows] == [it.text for it in UNSEEN]
    assert {type(row["probability"]) for row in rows} == {float}
    assert json.loads(run("audit", "train.csv", "new.csv", "--json").out)


def test_standard_input_is_a_text_a_line(run: Run) -> None:
    done = run("predict", "-", "--model", "model", given="Lovely, another meeting\nThe bus leaves at nine\n")
    assert done.status == 0, done.said
    assert [row["text"] for row in done.rows()] == ["Lovely, another meeting", "The bus leaves at nine"]


def test_a_text_in_quotes_is_read_and_explained(run: Run) -> None:
    (row,) = run("predict", "Lovely, another meeting", "--model", "model", "--explain").rows()
    assert row["text"] == "Lovely, another meeting"
    assert row["explanation"].startswith("Lovely,(")
    assert row["explanation"].count("(") == 3


def test_a_quoted_text_may_be_longer_than_the_name_of_a_file(run: Run) -> None:
    text = " ".join(it.text for it in ARABIC[:12])
    assert len(text.encode()) > 255
    (row,) = run("predict", text, "--model", "model").rows()
    assert row["text"] == text


def test_of_pairs_it_tells_which_text_is_the_sarcastic_one(run: Run, place: Path) -> None:
    done = run("predict", "pairs.csv", "--model", "model")
    assert done.status == 0, done.said
    found = [float(row["probability_of_second"]) for row in done.rows()]
    assert [int(row["predicted"]) for row in done.rows()] == [int(it > 0.5) for it in found]
    lines = (place / "pairs.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (place / "swapped.csv").write_text("".join(["text_1,text_0\n", *lines[1:]]), encoding="utf-8")
    swapped = run("predict", "swapped.csv", "--model", "model").rows()  # XPUDU-C5
    assert [float(row["probability_of_second"]) for row in swapped] == pytest.approx([1 - it for it in found], abs=2e-6)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_of_pairs_the_words_of_both_texts_are_explained(run: Run, place: Path, options: tuple[str, ...]) -> None:
    done = run("predict", "pairs.csv", "--model", "model", "--explain", *options)
    assert (done.status, done.said) == (0, "")
    rows = [json.loads(it) for it in done.out.splitlines()] if options else done.rows()
    assert list(rows[0])[2:] == ["probability_of_second", "predicted", "explanation_0", "explanation_1"]
    system = SarcasmSystem.load(place / "model")
    for row in rows[:3]:
        pair = Pair(texts=(row["text_0"], row["text_1"]), language="en")
        told = [f"{it.text}({it.share:+.2f})" for it in system.explain_pair(pair)[1]]
        assert row["explanation_1"].split() == told
        shares = re.findall(r"\(([+-]\d\.\d\d)\)(?: |$)", f"{row['explanation_0']} {row['explanation_1']}")
        assert len(shares) == len(f"{row['text_0']} {row['text_1']}".split())
        second = float(row["probability_of_second"])  # XPUDU-C8, to the digits that are printed
        assert sum(map(float, shares)) == pytest.approx(math.log(second / (1 - second)), abs=0.006 * len(shares))


def test_columns_may_have_other_names(run: Run, tmp_path: Path) -> None:
    lines = [f"{it.sarcastic};{it.text}".replace(",", "").replace(";", ",") for it in ENGLISH[:60]]
    (tmp_path / "mine.csv").write_text("\n".join(["irony,post", *lines]).replace('"', "'") + "\n", encoding="utf-8")
    options = ("--text-col", "post", "--label-col", "irony", "--folds", "2", "--out", tmp_path / "m", "--json")
    done = run("train", tmp_path / "mine.csv", *options)
    assert done.status == 0, done.said
    told = json.loads(done.out)
    assert (told["pairs"], told["categories"]) == (False, False)


def test_newlines_within_cells_are_no_rows(run: Run, tmp_path: Path) -> None:
    (tmp_path / "lines.csv").write_text('text\n"Lovely,\nanother meeting"\nThe bus\n')
    rows = run("predict", tmp_path / "lines.csv", "--model", "model").rows()
    assert [row["text"] for row in rows] == ["Lovely,\nanother meeting", "The bus"]


def test_empty_texts_can_be_skipped_and_are_counted(run: Run, tmp_path: Path) -> None:
    (tmp_path / "gaps.csv").write_text('text\nThe bus\n" "\nThe train\n')
    done = run("predict", tmp_path / "gaps.csv", "--model", "model", "--skip-empty")
    assert len(done.rows()) == 2
    assert "1 rows without a text were left out, the first at line 3." in done.said


def test_an_audit_shows_what_is_told_without_reading(run: Run, tmp_path: Path) -> None:
    short = [Example(text="so it is", language="en", sarcastic=0) for _ in range(20)]
    long = [Example(text="so it is " * 9, language="en", sarcastic=1) for _ in range(20)]
    write(tmp_path / "sorted.csv", [*long, *short], "text", "sarcastic")
    write(tmp_path / "test.csv", [*ENGLISH[:40]], "text", "sarcastic")
    done = run("audit", tmp_path / "sorted.csv", tmp_path / "test.csv")
    assert done.status == 0, done.said
    assert "position in the file" in done.out
    assert "1.000" in done.out
    rows = json.loads(run("audit", tmp_path / "sorted.csv", tmp_path / "test.csv", "--json").out)
    assert {row["cue"]: row["train"] for row in rows}["words"] == 1.0
    for name, header in (("sorted", "post,irony"), ("test", "post,mood")):  # the test file needs no labels
        lines = (tmp_path / f"{name}.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        (tmp_path / f"own-{name}.csv").write_text("".join([f"{header}\n", *lines[1:]]), encoding="utf-8")
    names = ("--text-col", "post", "--label-col", "irony", "--json")
    own = json.loads(run("audit", tmp_path / "own-sorted.csv", tmp_path / "own-test.csv", *names).out)
    assert [row | {"test": None, "remark": ""} for row in own] == [row | {"test": None, "remark": ""} for row in rows]


def test_an_encoder_is_trained_and_exported(run: Run, place: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    make_tiny_encoder(tmp_path / "tiny", [it.text for it in KNOWN], seed=0)
    settings = ("--set", "epochs=1", "--set", "batch=16", "--set", "rate=1e-3", "--set", "pooling=mean")
    done = run("train", "train.csv", "--model", tmp_path / "tiny", *settings, "--folds", "1", "--out", tmp_path / "m")
    assert done.status == 0, done.said
    predicted = run("predict", "new.csv", "--model", tmp_path / "m", "--explain")
    assert predicted.status == 0, predicted.said
    assert all(row["explanation"] for row in predicted.rows())
    compared = run("predict", "pairs.csv", "--model", tmp_path / "m", "--explain")
    assert compared.status == 0, compared.said
    assert all(row["explanation_0"] and row["explanation_1"] for row in compared.rows())
    done = run("export", "new.csv", "--model", tmp_path / "m", "--out", tmp_path / "onnx", "--json")
    assert done.status == 0, done.said
    report = json.loads(done.out)
    assert report["texts"] == 20
    assert report["difference"] < 1e-4
    assert (tmp_path / "onnx" / "model.onnx").is_file()
    done = run("export", "new.csv", "--model", tmp_path / "m", "--out", tmp_path / "other", "--member", "1")
    assert (done.status, done.out) == (2, "")
    assert "There is no model 1: the ensemble has 1." in done.said


def test_texts_that_are_cut_are_counted_in_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    make_tiny_encoder(tmp_path / "tiny", [it.text for it in KNOWN], seed=0)
    write(tmp_path / "long.csv", [replace(it, text=f"{it.text} " * 30) for it in ENGLISH[:20]], "text", "sarcastic")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        options = ("--model", tmp_path / "tiny", "--set", "epochs=1", "--folds", "1", "--out", tmp_path / "m")
        done = run("train", tmp_path / "long.csv", *options)
    assert done.status == 0, done.said
    assert "\nmodicum: 16 of 16 texts have more than 96 tokens and were cut there.\n" in done.said
    assert ".py" not in done.said


def test_ngrams_and_an_encoder_are_joined(run: Run, tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    make_tiny_encoder(tmp_path / "tiny", [it.text for it in KNOWN], seed=0)
    settings = ("--set", "epochs=1", "--set", "batch=16", "--set", "rate=1e-3", "--set", "pooling=mean", "--folds", "2")
    done = run("train", "train.csv", "--model", f"ngrams+{tmp_path / 'tiny'}", *settings, "--out", tmp_path / "m")
    assert done.status == 0, done.said
    assert "Fitting ngrams, part 1 of 2" in done.said
    rows = run("predict", "new.csv", "--model", tmp_path / "m", "--explain").rows()
    assert all(len(row["explanation"].split()) == len(row["text"].split()) for row in rows if row["dialect"] == "")
    assert len({row["probability"] for row in rows}) > 10
    compared = run("predict", "pairs.csv", "--model", tmp_path / "m", "--explain").rows()
    assert all(row["explanation_0"] and row["explanation_1"] for row in compared)
    done = run("export", "new.csv", "--model", tmp_path / "m", "--out", tmp_path / "onnx")
    assert (done.status, done.out) == (2, "")
    assert "joins n-grams and an encoder" in done.said
    assert not (tmp_path / "onnx").exists()


def test_external_texts_that_overlap_are_left_out(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "more.csv", [*ENGLISH[50:60], *ENGLISH[100:120]], "text", "sarcastic")
    options = ("--external", tmp_path / "more.csv", "--folds", "2", "--out", tmp_path / "m", "--json")
    done = run("train", "english.csv", *options)
    assert done.status == 0, done.said
    assert "20 texts are added; 10 overlap with the others." in done.said
    assert json.loads(done.out)["languages"]["en"]["texts"] == 80


def test_a_stopped_training_leaves_nothing(run: Run, tmp_path: Path) -> None:
    with interrupted_at("Fitting part 2 of 20"):
        done = run("train", "train.csv", "--folds", "20", "--preset", "plain", "--out", tmp_path / "model")
    assert (done.status, done.out) == (130, "")
    assert done.said.splitlines() == [
        "Fitting part 1 of 20",
        "Fitting part 2 of 20",
        "Stopped. Nothing was written: the same command begins again.",
    ]
    assert list(tmp_path.iterdir()) == []
