"""What the commands on sarcasm say of what they cannot use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.sarcasm.program import KNOWN, Run

from modicum.sarcasm.comparison import make_tiny_encoder
from modicum.sarcasm.configuration import Settings
from modicum.sarcasm.data.examples import Example
from modicum.sarcasm.fitting import fit

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
    "none.csv": "",
    "header.csv": "text\n",
    "two-gold.csv": "text,sarcastic\nso it is,1\nso be it,0\n",
    "votes.csv": "text,sarcasm_ref,human_aggregated,#humans_sarcasm\nso it is,1,1,4\nso be it,1,0,2\n",
    "long.txt": "task_a_en\n1\n0\n0\n",
    "arabic.txt": "task_a_ar\n1\n0\n",
    "sober.csv": "text,sarcastic\nso it is,0\nso be it,0\n",
    "sober.txt": "task_a_en\n1\n0\n",
}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("train renamed.csv --out new", r"renamed.csv has no column 'text'; its columns are 'tweets', 'sarcastic'"),
        ("train gap.csv --out new", "gap.csv, line 3 has an empty text"),
        ("train two.csv --out new", "two.csv, line 3 has the label '2' in 'sarcastic'"),
        ("train bare.csv --out new", "bare.csv has no labelled text. Name the column"),
        ("train ragged.csv --out new", "ragged.csv, line 2 has 3 cells, expected 2"),
        ("train few.csv --out new", "but 5 are needed"),
        ("train nothing.csv --out new", "nothing.csv"),
        ("train english.csv --out model", "model is there already and not an empty folder. Name a new one"),
        (
            "train english.csv --out new --set epoch=3",
            "An encoder has no option 'epoch'. Use one of these, here with their defaults: epochs=5",
        ),
        (
            "train english.csv --out new --set epochs=none",
            "epochs must be an integer from 1 on, got 'none'. Write --set epochs=5",
        ),
        ("train english.csv --out new --set epochs=3", "--set is for an encoder, and ngrams are none. Name one by"),
        ("train english.csv --out new --folds 0", "--folds is 0. Give 1 or more"),
        ("train english.csv --out new --label-col mood", "no column 'mood'; its columns are 'text', 'sarcastic'"),
        ("train english.csv --out new --model nowhere/at/all", "The model 'nowhere/at/all' cannot be loaded"),
        ("train english.csv --out new --like none.csv", "none.csv"),
        ("train english.csv --out new --like header.csv", "header.csv"),
        ("train english.csv --out new --like latin.csv", "latin.csv, line 2 is not UTF-8 (byte 0xe9)"),
        ("train english.csv --out new --like renamed.csv", "renamed.csv has no column 'text'"),
        ("train english.csv --out new --like nowhere.csv", "nowhere.csv"),
        ("train english.csv --out new --like pairs.csv", "Of the 0 texts like those to be read, no two are in"),
        ("train english.csv --out new --like new.csv --preset plain", "The preset is 'plain' already. Leave it out"),
        ("train english.csv --out file/new --folds 2", "file/new cannot be written"),
        ("predict new.csv --model nowhere", "There is no folder nowhere. Write --model with a folder that train wrote"),
        ("predict new.csv --model other", "other/system.json is no sarcasm system of modicum"),
        ("predict renamed.csv --model model", "renamed.csv has no column 'text'; its columns are 'tweets', 'sarc"),
        (
            "predict gap.csv --model model",
            "line 3 has an empty text. Remove it, or leave such rows out by --skip-empty",
        ),
        (
            "score gap.csv sent.txt",
            "line 3 has an empty text. Write its text, or remove the row, in a file of its pred",
        ),
        ("predict  --model model", "The text is empty. Write a text in quotes"),
        ("predict latin.csv --model model", "latin.csv, line 2 is not UTF-8 (byte 0xe9)"),
        ("predict french.csv --model model", "french.csv, line 2 has the language 'fr'"),
        ("predict texts.txt --model model", "texts.txt has the ending '.txt'"),
        ("predict taken.csv --model model", "The input has a column 'predicted' already"),
        ("predict new.csv --model english", "There is no threshold for 'ar', only for en"),
        ("predict pairs.csv --model alone", "The model cannot compare texts"),
        ("predict pairs.csv --model alone --explain --out found.csv", "The model cannot compare texts"),
        ("predict so\udcff --model model", "The text is not UTF-8"),
        ("predict new.csv --model model --out new.csv", "--out new.csv is a file that is read"),
        ("predict new.csv --model model --out model/a.csv", "--out model/a.csv is in model, a folder that is read"),
        ("predict new.csv --model model --out no/where.csv", "no/where.csv cannot be written"),
        ("train english.csv --out new --device gpu", "torch cannot use the device 'gpu'"),
        ("audit bare.csv new.csv", "bare.csv has no labelled text. Name the column of 0 and 1 by --label-col"),
        ("score bare.csv sent.txt", "1 of the 1 rows of bare.csv have no label of task A"),
        ("score sober.csv sober.txt", "sober.csv has no sarcastic text, so that F1 and recall say nothing"),
        ("score train.csv wrong.txt", "wrong.txt has the header 'labels'"),
        ("score train.csv odd.txt", "odd.txt, line 3 is '2', expected 1 label, 0 or 1"),
        ("score train.csv sent.txt", "sent.txt is of 2 items, the labelled file of 160. Give the predictions of"),
        ("score two-gold.csv sent.txt --against long.txt", "long.txt is of 3 items, the labelled file of 2"),
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
        ("train english.csv --out new --model coded", "The model 'coded' cannot be loaded"),
        ("export new.csv --model model --out new", "model holds n-grams, no encoder. Train with --model"),
    ],
)
def test_nonsense_is_two_sentences_and_status_2(run: Run, bad: Path, arguments: str, said: str) -> None:
    before = sorted(bad.iterdir())
    done = run(*arguments.split(" "), given="y\n")  # transformers would ask whether to run code
    assert done.status == 2, done
    assert said in " ".join(done.said.split())
    assert done.said.startswith(("modicum: ", "Fitting"))
    assert done.out == ""
    assert sorted(bad.iterdir()) == before


def test_wrong_arguments_are_refused_before_a_library_is_imported_and_n_grams_need_no_torch(bad: Path) -> None:
    script = """
import sys
heavy = ("torch", "transformers", "sklearn", "scipy")
sys.modules.update(dict.fromkeys(heavy))  # an import of them raises
from modicum.cli.main import run
for line in sys.stdin.read().splitlines():
    if "torchless" in line:
        for name in heavy:
            del sys.modules[name]
    sys.argv[1:] = ["sarcasm", *line.split(" ")]
    try:
        run()
    except SystemExit as left:
        print(left.code)
print("torch" in sys.modules)
"""
    lines = (
        *("train nothing.csv --out new", "train english.csv --out new --folds 0", "train english.csv --out file/new"),
        *(
            "train english.csv --out new --set epoch=3",
            "predict new.csv --model nowhere",
            "predict no.csv --model model",
        ),
        *("audit bare.csv new.csv", "submit new.csv --model model --out new.zip --task C", "score bare.csv sent.txt"),
        *("score two-gold.csv --prediction-col mine", "export no.csv --model model --out new"),
        *("export new.csv --model nowhere --out new", "predict new.csv --model model --out found.json"),
    )
    last = "predict new.csv --model model --out torchless.csv"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=bad, input="\n".join((*lines, last)), capture_output=True, text=True
    )
    assert done.stdout.split() == ["2"] * len(lines) + ["0", "False"], done.stderr
    assert (bad / "torchless.csv").is_file()


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
    make_tiny_encoder(place / "coded", [it.text for it in KNOWN], seed=0)  # with code, which is not run
    own = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    (place / "coded" / "tokenizer_config.json").write_text(json.dumps(own))
    (place / "coded" / "config.json").write_text(json.dumps({"model_type": "own"}))
    (place / "coded" / "own.py").write_text("import pathlib\n\npathlib.Path('code-was-run').touch()\n")
    bare = [Example(text=it.text, language=it.language, sarcastic=it.sarcastic) for it in KNOWN]
    for name, examples in (("english", KNOWN[:80]), ("alone", bare)):
        fit(examples, Settings(folds=2)).system.save(place / name)
    return place
