"""The commands on sarcasm as a user meets them."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import signal
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.e2e.stopping import interruptible

from modicum.cli import main
from modicum.core import catalogue
from modicum.sarcasm.encoder.model import EncoderModel
from modicum.sarcasm.encoder.modeling import SarcasmModel
from modicum.sarcasm.encoder.opening import open_tokenizer
from modicum.sarcasm.examples import CATEGORIES, Example, Pair
from modicum.sarcasm.learners import Settings, fit
from modicum.sarcasm.system import SarcasmSystem
from modicum.sarcasm.tiny import make_tiny_encoder
from modicum.sarcasm.written import read_written

ENGLISH, ARABIC = read_written("en"), read_written("ar")
KNOWN, UNSEEN = [*ENGLISH[:80], *ARABIC[:80]], [*ENGLISH[80:90], *ARABIC[80:90]]
COLUMNS = ("text", "sarcastic", "rephrase", "dialect", *CATEGORIES)


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    said: str

    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.out)))


Run = Callable[..., Done]


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The program in this process, which spares the seconds of its imports."""
    monkeypatch.chdir(place)

    def run(*arguments: str | Path, given: str = "") -> Done:
        monkeypatch.setattr(sys, "argv", ["modicum", "sarcasm", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode()), encoding="utf-8"))
        with pytest.raises(SystemExit) as left:
            main.run()
        told = capsys.readouterr()
        return Done(int(left.value.code or 0), told.out, told.err)

    return run


def in_a_process(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "modicum", "sarcasm", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


def write(path: Path, examples: Iterable[Example], *columns: str) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns or COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for it in examples:
            row = {"text": it.text, "sarcastic": it.sarcastic, "rephrase": it.rephrase, "dialect": it.dialect}
            row |= {"text_0": it.rephrase, "text_1": it.text}
            writer.writerow(row | dict(zip(CATEGORIES, it.categories or (), strict=bool(it.categories))))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts, and the system that the first command made of them."""
    folder = tmp_path_factory.mktemp("sarcasm")
    write(folder / "train.csv", KNOWN)
    write(folder / "new.csv", UNSEEN, "text", "dialect")
    write(folder / "pairs.csv", [it for it in UNSEEN if it.rephrase], "text_0", "text_1")
    write(folder / "english.csv", ENGLISH[:60])
    done = in_a_process("train", "train.csv", "--out", "model", "--folds", "2", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "told.json").write_text(done.stdout)
    (folder / "said.txt").write_text(done.stderr)
    return folder


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
    assert (place / "said.txt").read_text().splitlines() == [
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


def test_a_file_comes_back_with_probabilities_labels_and_categories(run: Run, place: Path) -> None:
    done = run("predict", "new.csv", "--model", "model")
    assert (done.status, done.said) == (0, "")
    rows = done.rows()
    assert list(rows[0]) == ["text", "dialect", "probability", "predicted", "categories"]
    assert [row["text"] for row in rows] == [it.text for it in UNSEEN]
    readings = SarcasmSystem.load(place / "model").read(UNSEEN)
    assert [float(row["probability"]) for row in rows] == pytest.approx(readings.probabilities, abs=1e-6)
    assert [int(row["predicted"]) for row in rows] == readings.labels.tolist()
    assert {name for row in rows for name in row["categories"].split()} <= set(CATEGORIES)


def test_the_same_goes_to_a_file(run: Run, tmp_path: Path) -> None:
    printed = run("predict", "new.csv", "--model", "model").out
    done = run("predict", "new.csv", "--model", "model", "--out", tmp_path / "found.csv")
    assert (done.status, done.out) == (0, "")
    assert done.said == f"20 rows: {tmp_path / 'found.csv'}\n"
    assert (tmp_path / "found.csv").read_text(encoding="utf-8") == printed


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


def test_a_model_that_reads_pairs_together_explains_none(run: Run, place: Path, tmp_path: Path) -> None:
    folder = make_tiny_encoder(tmp_path / "tiny", [it.text for it in KNOWN], seed=0)
    network = SarcasmModel.from_encoder(str(folder), pair_head="cross", learnt=("sarcastic", "rank"))
    model = EncoderModel(network, open_tokenizer(str(folder)))
    replace(SarcasmSystem.load(place / "model"), model=model).save(tmp_path / "m")
    assert run("predict", "pairs.csv", "--model", tmp_path / "m").status == 0
    done = run("predict", "pairs.csv", "--model", tmp_path / "m", "--explain", "--out", tmp_path / "found.csv")
    assert (done.status, done.out) == (2, "")
    assert "reads the two texts of a pair together and scores neither alone" in " ".join(done.said.split())
    assert not (tmp_path / "found.csv").exists()


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
    assert "place in the file" in done.out
    assert "1.000" in done.out
    rows = json.loads(run("audit", tmp_path / "sorted.csv", tmp_path / "test.csv", "--json").out)
    assert {row["cue"]: row["train"] for row in rows}["words"] == 1.0


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


BAD = {
    "renamed.csv": "tweets,sarcastic\nso it is,1\n",
    "gap.csv": 'text,sarcastic\nso it is,1\n"",0\n',
    "two.csv": "text,sarcastic\nso it is,1\nso be it,2\n",
    "bare.csv": "text\nso it is\n",
    "ragged.csv": "text,sarcastic\nso, it is,1\n",
    "taken.csv": "text,predicted\nso it is,1\n",
    "few.csv": "text,sarcastic\nso it is,1\nso be it,0\n",
    "latin.csv": b"text\ncaf\xe9\n",
    "french.csv": "text,language\nchouette,fr\n",
    "texts.txt": "so it is\n",
    "two-gold.csv": "text,sarcastic\nso it is,1\nso be it,0\n",
    "votes.csv": "text,sarcasm_ref,human_aggregated,#humans_sarcasm\nso it is,1,1,4\nso be it,1,0,2\n",
    "long.txt": "task_a_en\n1\n0\n0\n",
    "arabic.txt": "task_a_ar\n1\n0\n",
}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("train renamed.csv --out new", r"renamed.csv has no column 'text'; its columns are 'tweets', 'sarcastic'"),
        ("train gap.csv --out new", "gap.csv, line 3 has an empty text"),
        ("train two.csv --out new", "two.csv, line 3 has the label '2' in 'sarcastic'"),
        ("train bare.csv --out new", "bare.csv has no labelled text. Name the column"),
        ("train ragged.csv --out new", "ragged.csv, line 2 has 3 cells, expected 2"),
        ("train few.csv --out new", "can be parted, expected 5"),
        ("train nothing.csv --out new", "nothing.csv"),
        ("train english.csv --out model", "model is there already and not an empty folder. Name a new one"),
        ("train english.csv --out new --set epoch=3", "There is no setting 'epoch'. Write --set with one of epochs"),
        ("train english.csv --out new --set epochs=none", "epochs must be a whole number from 1 on, got 'none'"),
        ("train english.csv --out new --folds 0", "The number of folds is 0"),
        ("train english.csv --out new --label-col mood", "no column 'mood'; its columns are 'text', 'sarcastic'"),
        ("train english.csv --out new --model nowhere/at/all", "The model 'nowhere/at/all' cannot be loaded"),
        ("train english.csv --out file/new --folds 2", "The folder file cannot be made"),
        ("predict new.csv --model nowhere", "nowhere holds no sarcasm system: there is no system.json"),
        ("predict new.csv --model other", "other/system.json is of format and version ('other', 1)"),
        ("predict renamed.csv --model model", "renamed.csv has no column 'text'; its columns are 'tweets', 'sarc"),
        ("predict gap.csv --model model", "gap.csv, line 3 has an empty text"),
        ("predict latin.csv --model model", "latin.csv, line 2 is not UTF-8 (byte 0xe9)"),
        ("predict french.csv --model model", "french.csv, line 2 has the language 'fr'"),
        ("predict texts.txt --model model", "texts.txt has the ending '.txt'"),
        ("predict taken.csv --model model", "The input has a column 'predicted' already"),
        ("predict new.csv --model english", "There is no threshold for 'ar', only for en"),
        ("predict pairs.csv --model alone", "The model cannot compare texts"),
        ("predict pairs.csv --model alone --explain --out found.csv", "The model cannot compare texts"),
        ("predict so\udcff --model model", "Standard input, line 1 is not UTF-8 (byte 0xff)"),
        ("audit bare.csv new.csv", "Give each a label"),
        ("score bare.csv sent.txt", "1 of the 1 rows of bare.csv have no label of task A"),
        ("score train.csv wrong.txt", "wrong.txt has the header 'labels'"),
        ("score train.csv odd.txt", "odd.txt, line 3 is '2', expected 1 whole number, 0 or 1"),
        ("score train.csv sent.txt", "sent.txt is of 2 items, the test file of 160. Give what was said of that"),
        ("score two-gold.csv sent.txt --against long.txt", "long.txt is of 3 items, the test file of 2"),
        ("score two-gold.csv sent.txt --against arabic.txt", "arabic.txt is of task A in 'ar', not A in 'en'"),
        ("score two-gold.csv votes.csv", "1 of the 2 labels in votes.csv are not those of the test file"),
        ("score two-gold.csv votes.csv --task C", "votes.csv has no column 'sarcastic_id_ref'; its columns are 'text'"),
        ("score two-gold.csv votes.csv --task B", "votes.csv has no categories: readers were not asked for them"),
        ("score two-gold.csv sent.txt --at-least 2", "--at-least counts the votes of readers on task A"),
        ("score train.csv sent.txt --task C", "sent.txt is of task A in 'en', not C in 'en'"),
        ("submit new.csv --model model --out new.zip", "The submission has the shape (20,), expected (1400,)"),
        ("submit new.csv --model model --out new.zip --task C", "new.csv has no pairs; its columns are text, dialect"),
        ("submit new.csv --model alone --out new.zip --task B", "The system knows no categories"),
        ("train train.csv --model ngrams+ --out new", "The model '' cannot be loaded"),
        ("export new.csv --model model --out new", "model holds n-grams, no encoder. Train with --model"),
    ],
)
def test_nonsense_is_two_sentences_and_status_2(run: Run, bad: Path, arguments: str, said: str) -> None:
    before = sorted(bad.iterdir())
    done = run(*arguments.split(" "))
    assert done.status == 2, done
    assert said in " ".join(done.said.split())
    assert done.said.startswith(("modicum: ", "Fitting"))
    assert done.out == ""
    assert sorted(bad.iterdir()) == before


@pytest.fixture(scope="module")
def bad(place: Path) -> Path:
    """The same folder, with files that are not as they should be and systems that lack something."""
    for name, content in BAD.items():
        (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (place / "file").touch()
    (place / "wrong.txt").write_text("labels\n1\n0\n")
    (place / "odd.txt").write_text("task_a_en\n1\n2\n")
    (place / "sent.txt").write_text("task_a_en\n1\n0\n")
    (place / "other").mkdir()
    (place / "other" / "system.json").write_text('{"format": "other", "version": 1}')
    bare = [Example(text=it.text, language=it.language, sarcastic=it.sarcastic) for it in KNOWN]
    for name, examples in (("english", KNOWN[:80]), ("alone", bare)):
        fit(examples, Settings(folds=2)).system.save(place / name)
    return place


@pytest.mark.data("isarcasmeval")
@pytest.mark.parametrize(("task", "language"), [("A", "en"), ("A", "ar"), ("B", "en"), ("C", "en"), ("C", "ar")])
def test_the_official_files_are_submitted_and_scored(run: Run, tmp_path: Path, task: str, language: str) -> None:
    gold = catalogue.fetch("isarcasmeval") / "test" / f"task_{task}_{language.title()}_test.csv"
    options = ("--task", task, "--language", language)
    done = run("submit", gold, "--model", "model", "--out", tmp_path / "sent.zip", *options)
    count = 200 if task == "C" else 1400
    assert (done.status, done.said) == (0, f"{count:,} predictions of task {task}: {tmp_path / 'sent.zip'}\n")
    with zipfile.ZipFile(tmp_path / "sent.zip") as archive:
        (name,) = archive.namelist()
        header, *lines = archive.read(name).decode().splitlines()
    assert header == (",".join(CATEGORIES) if task == "B" else f"task_{task}_{language}".lower())
    assert len(lines) == count
    scored = run("score", gold, tmp_path / "sent.zip", *options, "--json")  # XPUDU-C9
    assert scored.status == 0, scored.said
    told = json.loads(scored.out)
    main_score = {"A": "f1", "B": "macro_f1", "C": "accuracy"}[task]
    assert 0 < told[main_score] < 1
    interval = told["interval"]
    assert (interval["of"], interval["level"], interval["value"]) == (main_score, 0.95, pytest.approx(told[main_score]))
    assert 0 <= interval["low"] < interval["value"] < interval["high"] < 1
    ends = f"95 % interval {interval['low']:.4f} to {interval['high']:.4f}"
    said = f"{main_score}: {told[main_score]:.4f} ({ends})\n"
    assert said in run("score", gold, tmp_path / "sent.zip", *options).out
    if task == "B":
        assert set(told["f1"]) == set(CATEGORIES)


@pytest.mark.data("isarcasmeval")
@pytest.mark.parametrize(
    ("task", "language", "wanted"),
    [("A", "en", 0.6133), ("A", "ar", 0.6652), ("C", "en", 0.970), ("C", "ar", 0.935)],
)
def test_five_readers_are_scored_as_a_submission_is(run: Run, task: str, language: str, wanted: float) -> None:
    # XPUDU-C2
    folder, name = catalogue.fetch("isarcasmeval"), {"en": "english", "ar": "arabic"}[language]
    gold = folder / "test" / f"task_{task}_{language.title()}_test.csv"
    votes = folder / "third-party annotations" / f"{name}_task_{task.lower()}.csv"
    done = run("score", gold, votes, "--task", task, "--language", language, "--json")
    assert done.status == 0, done.said
    interval = json.loads(done.out)["interval"]
    assert interval["value"] == pytest.approx(wanted, abs=5e-5)
    assert wanted - 0.07 < interval["low"] < wanted < interval["high"] < wanted + 0.07
    if task == "A":
        four = json.loads(run("score", gold, votes, "--language", language, "--at-least", 4, "--json").out)
        assert four["f1"] == pytest.approx({"en": 0.6716, "ar": 0.5882}[language], abs=5e-5)


def test_two_submissions_are_compared(run: Run, tmp_path: Path) -> None:
    gold = write(tmp_path / "gold.csv", ENGLISH[:200], "text", "sarcastic")
    labels = [it.sarcastic for it in ENGLISH[:200]]
    said = {"right": labels, "never": [0] * 200, "nearly": [*labels[:195], *(1 - (it or 0) for it in labels[195:])]}
    for name, them in said.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(["task_a_en", *map(str, them)]) + "\n")

    def compare(one: str, other: str) -> dict[str, float | str]:
        done = run("score", gold, tmp_path / f"{one}.txt", "--against", tmp_path / f"{other}.txt", "--json")
        assert (done.status, done.said) == (0, "")
        return json.loads(done.out)["difference"]

    assert compare("nearly", "never")["verdict"] == "better"
    assert compare("never", "nearly")["verdict"] == "worse"
    itself = compare("nearly", "nearly")
    assert (itself["verdict"], itself["value"], itself["low"], itself["high"]) == ("no difference shown", 0, 0, 0)
    perfect = compare("right", "never")
    assert [perfect[it] for it in ("of", "level", "value", "low", "high")] == ["f1", 0.95, 1, 1, 1]
    assert perfect["against"] == str(tmp_path / "never.txt")
    words = run("score", gold, tmp_path / "never.txt", "--against", tmp_path / "never.txt").out.splitlines()
    assert words[0] == "f1: 0.0000 (95 % interval 0.0000 to 0.0000)"
    assert words[-1] == (
        f"f1 less that of {tmp_path / 'never.txt'}: +0.0000 (95 % interval +0.0000 to +0.0000), no difference shown"
    )


@pytest.mark.data("isarcasmeval")
def test_predictions_in_another_order_are_not_submitted(run: Run, tmp_path: Path) -> None:  # XPUDU-C9
    test = catalogue.fetch("isarcasmeval") / "test"
    done = run("submit", test / "task_B_En_test.csv", "--model", "model", "--out", tmp_path / "sent.zip")
    assert done.status == 2
    assert "the official texts in another order; the first that differs is number" in done.said
    done = run("score", test / "task_A_Ar_test.csv", tmp_path / "sent.zip", "--language", "ar")
    assert done.status == 2
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_training_leaves_nothing(place: Path, tmp_path: Path) -> None:
    write(tmp_path / "train.csv", [*ENGLISH, *ARABIC])
    with interruptible("sarcasm", "train", "train.csv", "--folds", "100", "--out", "model", cwd=tmp_path) as running:
        assert running.stderr is not None
        assert running.stderr.readline() == "Fitting part 1 of 100\n"  # and a hundred fits take half a minute
        running.send_signal(signal.SIGINT)
        out, said = running.communicate(timeout=60)
    assert running.returncode == 1, said
    assert out == ""
    assert "Stopped. Nothing was written: the same command begins again." in said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["train.csv"]
