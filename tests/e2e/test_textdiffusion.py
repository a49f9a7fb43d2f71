"""The commands of SeqDiffuSeq as a user meets them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.e2e.in_process import run_here

PAIRS = [("c a t", "K AE T"), ("h a t", "HH AE T"), ("m a t", "M AE T"), ("s a t", "S AE T")]
QUICK = ("--tokens", "words", "--width", "16", "--layers", "1", "--set", "batch=4", "--set", "warmup=2")


def write(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def as_json(source: str, target: str) -> str:
    return json.dumps({"src": source, "trg": target})


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pairs and a small network that was trained on them."""
    folder = tmp_path_factory.mktemp("trained")
    pairs = write(folder / "pairs.jsonl", [as_json(*pair) for pair in PAIRS])
    steps = ("--set", "steps=60", "--set", "schedule_every=10")
    outputs = ("--out", "model", "--schedule-plot", "schedule.png", "--json")
    done = run_here("textdiffusion", "train", pairs, *QUICK, *steps, *outputs, cwd=folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["pairs"], found["updates"]) == (4, 60)
    assert (folder / "schedule.png").read_bytes()[:4] == b"\x89PNG"
    return folder


def test_generate_writes_a_line_a_source_and_shows_how_noise_becomes_text(trained: Path, tmp_path: Path) -> None:
    sources = write(tmp_path / "sources.txt", ["c a t", "h a t"])
    given = (sources, "--model", trained / "model", "--calls", "4", "--candidates", "2")
    done = run_here("textdiffusion", "generate", *given, "--show-steps", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    shown = [line.split()[0] for line in done.stderr.splitlines() if "%" in line]
    assert shown == ["1/4", "2/4", "3/4", "4/4"]


def test_known_tokens_stay_where_they_are(trained: Path, tmp_path: Path) -> None:
    sources, known = write(tmp_path / "sources.txt", ["c a t"]), write(tmp_path / "known.txt", ["_ HH _"])
    given = (sources, "--model", trained / "model", "--calls", "2", "--candidates", "3", "--known", known, "--json")
    done = run_here("textdiffusion", "generate", *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert len(found["candidates"]) == 3
    assert all(text.split()[1:2] == ["HH"] for text in found["candidates"])


def test_evaluate_always_prints_the_copied_source(trained: Path, tmp_path: Path) -> None:
    # As two parallel texts; what is told twice is one source with two references.
    sources = write(tmp_path / "test.src", ["c a t", "m a t", "m a t"])
    targets = write(tmp_path / "test.trg", ["K AE T", "M AE T", "M AH T"])
    given = (sources, targets, "--model", trained / "model", "--calls", "2", "--candidates", "3")
    done = run_here("textdiffusion", "evaluate", *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 sources, 2 network calls" in done.stdout
    copied = next(line for line in done.stdout.splitlines() if line.startswith("copy the source"))
    assert "100.0%" in copied


def test_evaluate_draws_quality_against_calls(trained: Path, tmp_path: Path) -> None:
    given = (trained / "pairs.jsonl", "--model", trained / "model", "--calls", "2", "--candidates", "2")
    done = run_here("textdiffusion", "evaluate", *given, "--plot", "calls.svg", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["curve"]["2"] == found["one sample"]["error_rate"]
    assert found["copy the source"]["wrong"] == 1.0
    assert "<svg" in (tmp_path / "calls.svg").read_text()


def test_a_training_says_what_is_wrong_with_its_data(tmp_path: Path) -> None:
    def train(rows: list[str], *options: object, name: str = "pairs.jsonl") -> subprocess.CompletedProcess[str]:
        pairs = write(tmp_path / name, rows)
        steps = ("--set", "steps=2", "--out", "model")
        return run_here("textdiffusion", "train", pairs, *QUICK, *steps, *options, cwd=tmp_path)

    rows = [as_json(*pair) for pair in PAIRS]
    refused(train([*rows, '{"src": "c a t"}']), "pairs.jsonl, line 5", "trg")
    refused(train([*rows, as_json(" ", "K")]), "pairs.jsonl, line 5", "empty")
    refused(train(["src,trg", "c a t,"], name="pairs.csv"), "pairs.csv, line 2", "empty")
    refused(train([*rows, as_json("c", "K AE T T")], "--target-length", "5"), "1 of 5 targets", "truncate", "line 5")
    refused(train(rows, "--set", "speed=3"), "speed")
    refused(train(rows, "--target-length", "2"), "--target-length is 2")
    refused(train(rows, "--checkpoints", "model/checkpoints"), "is in --out", "outside of it")
    short = write(tmp_path / "short.txt", ["K AE T"])
    refused(train(["c a t", "h a t"], short, name="long.txt"), "long.txt has 2 lines")
    assert not (tmp_path / "model").exists()
    done = train([*rows, as_json("c", "K AE T T")], "--target-length", "5", "--truncate")
    assert done.returncode == 0, done.stderr


def test_sampling_says_what_is_wrong(trained: Path, tmp_path: Path) -> None:
    model = trained / "model"

    def generate(
        text: str, *options: object, known: str | None = None, model: Path = model
    ) -> subprocess.CompletedProcess[str]:
        sources = write(tmp_path / "sources.txt", [text])
        if known is not None:
            options += ("--known", write(tmp_path / "known.txt", [known]))
        return run_here("textdiffusion", "generate", sources, "--model", model, *options, cwd=tmp_path)

    refused(generate(" "), "There are no sources")
    refused(generate("c a t\n\nh a t"), "Line 2", "empty")
    refused(generate("c a t", "--calls", "0"), "--calls is 0")
    refused(generate("c a t", "--calls", "2001"), "2000 steps")
    refused(generate("c a t", known="_ XX"), "known.txt, line 1", "'XX'")
    refused(generate("c a t", known="_ _ _ _ K"), "known.txt, line 1", "has 5 tokens")
    refused(generate("c a t", known="K\nK"), "2 lines for 1 sources")
    refused(generate("c a t", model=tmp_path / "absent"), "no folder")
    refused(generate("c a t c a t"), "longest source", "truncate")

    changed = tmp_path / "changed"
    shutil.copytree(model, changed)
    tokenizer = (changed / "tokenizer.json").read_text()
    (changed / "tokenizer.json").write_text(tokenizer.replace('"HH"', '"XX"'))
    refused(generate("c a t", model=changed), "not the one that the network was made for")
    (changed / "tokenizer.json").write_text(tokenizer)
    config = json.loads((changed / "config.json").read_text())
    (changed / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    refused(generate("c a t", model=changed), "another model than a SeqDiffuSeq", "textdiffusion train")
    (changed / "config.json").write_text(json.dumps(config | {"num_steps": 1000}))
    refused(generate("c a t", model=changed), "schedule.alphas_cumprod")
