"""The commands on the files of the shared task: submissions, scores and readers' votes."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.sarcasm.program import ENGLISH, Run, write

from modicum.core import catalogue
from modicum.sarcasm.data.examples import CATEGORIES


@pytest.mark.data("isarcasmeval")
@pytest.mark.parametrize(("task", "language"), [("A", "en"), ("A", "ar"), ("B", "en"), ("C", "en"), ("C", "ar")])
def test_the_official_files_are_submitted_and_scored(run: Run, tmp_path: Path, task: str, language: str) -> None:
    gold = catalogue.fetch("isarcasmeval") / "test" / f"task_{task}_{language.title()}_test.csv"
    options = ("--task", task, "--language", language)
    done = run("submit", gold, "--model", "model", "--out", tmp_path / "sent.zip", *options, "--json")
    count = 200 if task == "C" else 1400
    assert (done.status, done.said) == (0, f"{count:,} predictions of task {task}: {tmp_path / 'sent.zip'}\n")
    told = {"task": task, "language": language, "predictions": count, "file": str(tmp_path / "sent.zip")}
    assert json.loads(done.out) == told
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


def test_own_predictions_are_scored_whatever_their_columns_are_called(run: Run, tmp_path: Path) -> None:
    texts = ["so it is", "so be it", "oh, great", "the bus"]
    truth, ours = [1, 0, 1, 0], [1, 0, 0, 1]

    def table(name: str, header: str, *columns: list[Any]) -> Path:
        rows = [";".join(map(str, row)) for row in zip(*columns, strict=True)]
        (tmp_path / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return tmp_path / name

    gold = table("gold.csv", "post;irony", texts, truth)
    mine = table("mine.csv", "post;says_my_model", texts, ["TRUE", "False", "0", "1.0"])
    bare = table("bare.csv", "id;says_my_model", [1, 2, 3, 4], ours)
    both = table("both.csv", "text;sarcastic;predicted;rate", texts, truth, ours, [0.9, 0.1, 0.4, 0.6])
    names = ("--text-col", "post", "--label-col", "irony", "--prediction-col", "says_my_model")
    for arguments in ((gold, mine, *names), (gold, bare, *names), (both,)):
        done = run("score", *arguments, "--json")
        assert (done.status, done.said) == (0, ""), done.said
        assert json.loads(done.out)["f1"] == 0.5
    against = run("score", gold, mine, "--against", bare, *names, "--json")
    assert json.loads(against.out)["difference"]["value"] == 0
    moved = table("moved.csv", "post;says_my_model", texts[::-1], ours)
    named = table("named.csv", "text;says_my_model", texts[::-1], ours)
    tweets = table("tweets.csv", "tweet;sarcastic", texts, truth)
    turned = table("turned.csv", "tweet;predicted", texts[::-1], ours)
    cleaned = table("cleaned.csv", "text;tweet;predicted", [it.title() for it in texts], texts, ours)
    done = run("score", tweets, cleaned, "--json")  # of two, the column of the labelled file
    assert (done.status, json.loads(done.out)["f1"]) == (0, 0.5)
    short = table("short.csv", "post;says_my_model", texts[:3], ours[:3])
    for arguments, said in (
        ((gold, moved, *names), "moved.csv, line 2 has another text in 'post' than that row of the labelled file"),
        ((gold, named, *names), "named.csv, line 2 has another text in 'text' than that row of the labelled file"),
        ((tweets, turned), "turned.csv, line 2 has another text in 'tweet' than that row of the labelled file"),
        ((both, turned), "turned.csv, line 2 has another text in 'tweet' than that row of the labelled file"),
        ((gold, short, *names), "short.csv has 3 predictions, the labelled file 4 rows"),
        ((gold, mine, *names[:4]), "mine.csv has no column 'predicted'; its columns are 'post', 'says_my_model'. Name"),
        ((both, both, "--prediction-col", "rate"), "both.csv, line 2 has the label '0.9' in 'rate'. Write 1 for"),
        ((gold, mine, *names[:2], *names[4:]), "have no label of task A. Give a file with all labels, and name their"),
    ):
        done = run("score", *arguments)
        assert (done.status, done.out) == (2, "")
        assert said in " ".join(done.said.split())


def test_own_predictions_of_categories_and_pairs_are_scored(run: Run, place: Path, tmp_path: Path) -> None:
    write(tmp_path / "gold.csv", ENGLISH[:40])
    assert run("predict", tmp_path / "gold.csv", "--model", "model", "--out", tmp_path / "found.csv").status == 0
    done = run("score", tmp_path / "gold.csv", tmp_path / "found.csv", "--task", "B", "--json")
    assert (done.status, done.said) == (0, "")
    assert set(json.loads(done.out)["f1"]) == set(CATEGORIES)
    first = (place / "pairs.csv").read_text(encoding="utf-8").splitlines()
    labelled = [f"{first[0]},sarcastic_id,mine", *(f"{line},1,{at % 2}" for at, line in enumerate(first[1:]))]
    (tmp_path / "pairs.csv").write_text("\n".join(labelled) + "\n", encoding="utf-8")
    done = run("score", tmp_path / "pairs.csv", "--task", "C", "--prediction-col", "mine", "--json")
    assert (done.status, done.said) == (0, "")
    assert json.loads(done.out)["accuracy"] == pytest.approx((len(first) - 1) // 2 / (len(first) - 1))


@pytest.mark.data("isarcasmeval")
def test_predictions_in_another_order_are_not_submitted(run: Run, tmp_path: Path) -> None:  # XPUDU-C9
    test = catalogue.fetch("isarcasmeval") / "test"
    done = run("submit", test / "task_B_En_test.csv", "--model", "model", "--out", tmp_path / "sent.zip")
    assert done.status == 2
    assert "the official texts in another order; the first that differs is number" in done.said
    done = run("score", test / "task_A_Ar_test.csv", tmp_path / "sent.zip", "--language", "ar")
    assert done.status == 2
    assert list(tmp_path.iterdir()) == []
