from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest
from tests.e2e.in_process import run_here
from tests.unit.zeroshot.tiny import write_corpus, write_encoder, write_texts

TASK = """
labels: [bad, good]
verbalizer: {bad: [terrible, awful], good: [great, lovely]}
templates: ["it was {label}"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with raw text, labelled texts, a task and a model that was tuned by the command."""
    made = tmp_path_factory.mktemp("zeroshot")
    (made / "encoder").mkdir()
    write_encoder(made / "encoder")
    (made / "raw.txt").write_text("\n".join(write_corpus(200)))
    (made / "task.yaml").write_text(TASK)
    texts, labels = write_texts(80, seed=1)
    rows = [{"text": text, "label": ["bad", "good"][label]} for text, label in zip(texts, labels, strict=True)]
    (made / "some.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = run_here(*TUNE, "--labelled", "some.jsonl", "--out", "tuned", "--json", cwd=made)
    assert done.returncode == 0, done.stderr
    (made / "said.json").write_text(done.stdout)
    return made


TUNE = ("zeroshot", "tune", "raw.txt", "--task", "task.yaml", "--model", "encoder", "--index", "index")


def test_tune_says_what_came_of_it(folder: Path) -> None:
    said = json.loads((folder / "said.json").read_text())
    assert said["mined"]["usable"].keys() == {"bad", "good"}
    assert said["change"]["texts"] == 500
    assert said["fit"]["residual"] <= 1e-8
    judged = said["judged"]
    assert judged["rows"] == sum(map(sum, judged["confusion"])) == 80
    (cosine,) = (rival for rival in judged["rivals"] if rival["name"] == "cosine")
    assert cosine["low"] <= cosine["difference"] <= cosine["high"]
    assert cosine["difference"] == pytest.approx(judged["accuracy"] - cosine["accuracy"])


def test_tune_in_words(folder: Path) -> None:
    done = run_here(*TUNE, "--out", "other", "--set", "per_class=60", "--set", "formats=context", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "bad: 200 sentences" in done.stderr.replace("  ", " ") or "sentences, 60 rows taken" in done.stderr
    assert "Tuning changed the label of" in done.stdout
    assert "only labels can say" in done.stdout


def test_an_index_is_not_made_in_its_corpus(folder: Path) -> None:
    (folder / "raw").mkdir()
    (folder / "raw" / "some.txt").write_text("This was great.")
    done = run_here("zeroshot", "mine", "raw", "--labels", "bad,good", "--index", "raw/index", cwd=folder)
    assert done.returncode == 2
    assert "--index raw/index is in raw, a folder that is read." in done.stderr
    assert not (folder / "raw" / "index").exists()


def test_mine_shows_words_and_writes_rows(folder: Path) -> None:
    options = ("--index", "index", "--suggest", "3", "--set", "per_class=20", "--model", "encoder")
    done = run_here("zeroshot", "mine", "raw.txt", "--task", "task.yaml", *options, "--out", "rows.csv", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "  great: " in done.stdout
    assert "Words near good: " in done.stdout
    rows = list(csv.DictReader((folder / "rows.csv").read_text().splitlines()))
    assert len(rows) == 40
    assert {row["label"] for row in rows} == {"bad", "good"}
    assert not any(row["word"] in row["text"].split() for row in rows)


def test_evaluate(folder: Path) -> None:
    done = run_here("zeroshot", "evaluate", "some.jsonl", "--model", "tuned", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "80 labelled texts: accuracy" in done.stdout
    assert "Against cosine" in done.stdout
    assert "bad is called: bad" in done.stdout


def test_predict_at_once_and_by_a_tuned_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = b'id,text\n7,"the warm beach was bright"\n8,"we had a cold storm then"\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), encoding="utf-8"))
    done = run_here("zeroshot", "predict", "--labels", "great, awful", "--model", "encoder", "-", cwd=folder)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["id"] for row in rows] == ["7", "8"]
    assert {row["predicted"] for row in rows} <= {"great", "awful"}
    done = run_here(
        "zeroshot",
        "predict",
        "some.jsonl",
        "--model",
        "tuned",
        "--abstain",
        "0.2",
        "--out",
        "answers.jsonl",
        "--json",
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"file": "answers.jsonl", "rows": 80}
    answers = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    right = [each["predicted"] == each["label"] for each in answers if each["predicted"]]
    assert sum(right) > 0.6 * len(right) > 0
    assert all(0.5 <= each["probability"] <= 1 for each in answers)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("predict", "some.jsonl"), "One of --labels and --task"),
        (("predict", "some.jsonl", "--labels", "a"), "Two labels or more"),
        (("predict", "some.jsonl", "--labels", "a,b", "--model", "tuned"), "has its own labels"),
        (("predict", "some.jsonl", "--labels", "a,b", "--model", "encoder", "--text-col", "x"), "has no column 'x'"),
        (("predict", "blank.csv", "--labels", "a,b", "--model", "encoder"), "blank.csv, line 3: text is empty"),
        (("evaluate", "odd.csv", "--model", "tuned"), "odd.csv, line 3 has the label 'fine', which the task does"),
        (
            ("tune", "raw.txt", "--task", "task.yaml", "--out", "new", "--labelled", "odd.csv"),
            "odd.csv, line 3 has the",
        ),
        (("predict", "some.jsonl", "--model", "tunde"), "There is no folder tunde, and neither --labels nor --task"),
        (("predict", "some.jsonl", "--model", "encoder"), "encoder was not tuned, and neither --labels nor --task"),
        (("predict", "some.jsonl", "--model", "torn", "--labels", "a,b"), "torn has no gotuning.json"),
        (("predict", "some.jsonl", "--labels", "a,,b"), "--labels a,,b has an empty place"),
        (("predict", "clash.csv", "--model", "tuned"), "clash.csv has a column 'predicted' already"),
        (("mine", "raw.txt", "--task", "task.yaml", "--set", "c=1"), "There is no setting 'c'"),
        (("mine", "nowhere", "--task", "task.yaml"), "There is no nowhere"),
        (("mine", "raw.txt", "--labels", "great,mediocre", "--model", "encoder"), "'mediocre' has 0 usable sentences"),
        (("mine", "latin.txt", "--labels", "a,b"), "latin.txt, line 1 is not UTF-8"),
        (("tune", "raw.txt", "--task", "task.yaml", "--out", "tuned"), "is there already"),
        (("tune", "raw.txt", "--task", "task.yaml", "--out", "new", "--set", "step=3"), "There is no setting 'step'"),
        (
            ("mine", "some.jsonl", "--task", "task.yaml", "--index", "index"),
            "made of another corpus than some.jsonl",
        ),
        (("mine", "nowhere", "--task", "task.yaml", "--index", "index"), "There is no nowhere"),
        (
            ("predict", "some.jsonl", "--labels", "⚽,💰", "--model", "encoder"),
            "'⚽' and '💰' are the same",
        ),
        (("predict", "some.jsonl", "--labels", "a,b", "--abstain", "0.1"), "--abstain needs a tuned model"),
        (("predict", "some.jsonl", "--model", "tuned", "--abstain", "2"), "--abstain is 2"),
        (("predict", "half.jsonl", "--model", "tuned"), "half.jsonl, line 2 holds half a character"),
    ],
)
def test_bad_input(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    (folder / "blank.csv").write_text('text,n\nsome words,1\n" ",2\n')
    (folder / "odd.csv").write_text("text,label\nsome words,good\nother words,fine\n")
    (folder / "clash.csv").write_text("text,predicted\nsome words,good\n")
    (folder / "torn").mkdir(exist_ok=True)
    (folder / "torn" / "gotuning.safetensors").write_bytes(b"")
    (folder / "half.jsonl").write_text('{"text": "whole \\ud83d\\ude00"}\n{"text": "half \\ud83d"}\n')
    (folder / "latin.txt").write_bytes("schöne Grüße aus der Stadt am großen Fluss\n".encode("latin-1"))
    done = run_here("zeroshot", *arguments, cwd=folder)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (folder / "new").exists()
