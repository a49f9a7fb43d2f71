"""The arms of the comparison, on few texts and with few passes."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
import torch
from tests.unit.sarcasm.erniem_folder import random_weights, write_folder
from tests.unit.sarcasm.tiny_encoder import write_examples
from torch.optim.optimizer import register_optimizer_step_post_hook

from modicum.core.method import Budget, Job, Measurement
from modicum.errors import ConfigError, DataError
from modicum.sarcasm.comparison import METHOD, Problem, setup
from modicum.sarcasm.data.examples import CATEGORIES, Example
from modicum.sarcasm.data.isarcasm import read_texts
from modicum.sarcasm.data.preparation import PRESETS
from modicum.sarcasm.evaluate.scores import score_a
from modicum.sarcasm.fitting import fit_system
from modicum.sarcasm.linear import LinearLearner
from modicum.sarcasm.written import read_written

Arm: TypeAlias = Callable[[Job, Problem], Measurement]

ARMS: dict[str, Arm] = {arm.name: arm.run for arm in METHOD.comparison.arms}
SCORES = {"A en F1", "A ar F1", "B macro F1", "C en accuracy", "C ar accuracy"}


def job(data: Path | None = None, budget: Budget = "demo", seed: int = 0, **options: str) -> Job:
    given = {"epochs": "1", "model": "tiny", **options}
    return Job(seed=seed, budget=budget, data=data, settings=METHOD.comparison.settings_for(budget, given))


def run(arm: str, given: Job) -> Measurement:
    return ARMS[arm](given, setup(given))


def write(path: Path, examples: list[Example], *, english: bool, columns: tuple[str, ...]) -> None:
    """Write a file, with the names of columns that the shared task has in the language."""
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        for it in examples:
            row = {"tweet" if english and "tweet" in columns else "text": it.text, "sarcastic": it.sarcastic}
            row |= {"rephrase": it.rephrase, "dialect": it.dialect, "text_0": it.rephrase, "text_1": it.text}
            writer.writerow(row | {"sarcastic_id": 1} | dict(zip(CATEGORIES, it.categories or (), strict=True)))


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mine") / "mine.csv"
    columns = ("text", "sarcastic", "rephrase", "dialect", *CATEGORIES)
    write(path, [*read_written("en")[:60], *read_written("ar")[:60]], english=True, columns=columns)
    return path


@pytest.fixture(scope="module")
def measured(mine: Path) -> dict[str, Measurement]:
    problem = setup(job(mine))
    return {name: arm(job(mine), problem) for name, arm in ARMS.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the shared task's files with texts that were written for modicum."""
    root = tmp_path_factory.mktemp("task")
    english, arabic = read_written("en"), read_written("ar")
    write(
        root / "train/train.En.csv",
        english[:70],
        english=True,
        columns=("tweet", "sarcastic", "rephrase", *CATEGORIES),
    )
    write(root / "train/train.Ar.csv", arabic[:70], english=False, columns=("text", "sarcastic", "rephrase", "dialect"))
    test_en, test_ar = english[70:110], arabic[70:110]
    write(root / "test/task_A_En_test.csv", test_en, english=True, columns=("text", "sarcastic"))
    write(root / "test/task_A_Ar_test.csv", test_ar, english=False, columns=("text", "dialect", "sarcastic"))
    write(root / "test/task_B_En_test.csv", test_en[::-1], english=True, columns=("text", *CATEGORIES))
    pairs = ("text_0", "text_1", "sarcastic_id")
    write(root / "test/task_C_En_test.csv", [it for it in test_en if it.sarcastic], english=True, columns=pairs)
    arabic_pairs = [it for it in test_ar if it.sarcastic]
    write(root / "test/task_C_Ar_test.csv", arabic_pairs, english=False, columns=(*pairs[:2], "dialect", pairs[2]))
    return root


@pytest.mark.parametrize("arm", ARMS)
def test_each_arm_is_scored_on_all_tasks_and_both_languages(arm: str, measured: dict[str, Measurement]) -> None:
    found = measured[arm]
    assert set(found.secondary) == SCORES
    assert all(0 <= it <= 1 for it in found.secondary.values())
    assert found.value == pytest.approx((found.secondary["A en F1"] + found.secondary["A ar F1"]) / 2)
    assert found.costs == {"models": 1.0 if arm in {"joint fine-tuning", "joint, shift-robust"} else 2.0}


@pytest.mark.parametrize("arm", ["n-grams, shift-robust", "joint fine-tuning"])
def test_an_arm_is_a_function_of_its_job(arm: str, mine: Path, measured: dict[str, Measurement]) -> None:
    assert run(arm, job(mine)) == measured[arm]  # of a problem that other arms did not use before


def test_an_encoder_of_one_language_has_as_many_updates_as_that_of_both(mine: Path) -> None:
    updates = Counter[torch.optim.Optimizer]()
    hook = register_optimizer_step_post_hook(lambda optimizer, *_: updates.update([optimizer]))
    for arm in ("joint fine-tuning", "monolingual fine-tuning"):
        run(arm, job(mine, batch="4"))
    hook.remove()
    joint, english, arabic = updates.values()
    assert joint > 15
    assert english == pytest.approx(joint, abs=2)  # to the nearest pass, whose last batch is a small one
    assert arabic == pytest.approx(joint, abs=2)


def test_an_arm_is_the_system_that_one_would_fit_oneself(folder: Path) -> None:
    found = run("n-grams, shift-robust", job(folder, rule="half"))
    posed = setup(job(folder))
    english = [it for it in posed.train if it.language == "en"]
    system = fit_system(english, LinearLearner(), robustness=PRESETS["modicum"], rule="half", folds=1).system
    texts = read_texts(folder, "en")
    gold = [it.sarcastic or 0 for it in texts]
    assert found.secondary["A en F1"] == score_a(gold, system.read(texts).labels).f1


def test_a_folder_laid_out_as_the_shared_task_is_compared_on(folder: Path) -> None:
    for arm in ("n-grams", "joint fine-tuning"):
        found = run(arm, job(folder, folds="2"))
        assert set(found.secondary) == SCORES
        assert found.costs == {"models": 2.0}  # one of each language, or of each fold


def test_a_file_in_one_language_without_rephrases_has_task_a_alone(tmp_path: Path) -> None:
    write(tmp_path / "mine.csv", read_written("en")[:80], english=True, columns=("text", "sarcastic"))
    for arm in ("n-grams", "frozen encoder"):
        found = run(arm, job(tmp_path / "mine.csv"))
        assert set(found.secondary) == {"A en F1"}
        assert found.costs == {"models": 1.0}


def test_folds_and_rules_reach_the_systems(mine: Path) -> None:
    assert run("n-grams", job(mine, rule="half")).secondary != run("n-grams", job(mine, rule="top_share")).secondary
    assert run("n-grams", job(mine, folds="2")).secondary != run("n-grams", job(mine)).secondary


def test_the_demo_reads_the_written_texts() -> None:
    found = run("n-grams", job())
    assert set(found.secondary) == SCORES
    assert found.value > 0.5  # n-grams learn something of them; half of them are sarcastic


def test_an_ernie_m_is_an_encoder_like_any_other(tmp_path: Path) -> None:
    place = str(write_folder(tmp_path / "ernie", random_weights(head=False)))
    # Few tokens each, even letter by letter.
    write(tmp_path / "mine.csv", write_examples(60), english=True, columns=("text", "sarcastic", "rephrase"))
    for arm in ("frozen encoder", "joint fine-tuning"):
        assert set(run(arm, job(tmp_path / "mine.csv", model=place)).secondary) == {"A en F1", "C en accuracy"}


def test_what_cannot_be_compared_is_told(tmp_path: Path, mine: Path) -> None:
    (tmp_path / "bare.csv").write_text("text\nwhat a day\nso it is\n")
    with pytest.raises(DataError, match="has no labelled text"):
        run("n-grams", job(tmp_path / "bare.csv"))
    with pytest.raises(ConfigError, match=r"rule must be one of"):
        run("n-grams", job(mine, rule="best"))
    with pytest.raises(ConfigError, match=r"'ngrams\+offline', which is no encoder. Name the encoder alone"):
        run("joint fine-tuning", job(mine, model="ngrams+offline"))
    with pytest.raises(ConfigError, match=r"The model '.*nowhere' cannot be loaded"):
        run("joint fine-tuning", job(mine, model=str(tmp_path / "nowhere")))
