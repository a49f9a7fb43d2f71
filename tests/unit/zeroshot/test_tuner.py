from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression
from tests.unit.zeroshot.tiny import TASK, write_corpus, write_encoder, write_texts
from tests.unit.zeroshot.tiny_models import write_bert, write_t5
from transformers import BertTokenizer, ByT5Tokenizer, T5Config, T5ForConditionalGeneration, T5Model

from modicum.core.seeding import numpy_generator, torch_generator
from modicum.errors import ConfigError, DataError, InputError, ModelError, StateError
from modicum.zeroshot import CorpusIndex, FitSettings, GoTuner, MinedSet, MineSettings, MultiTaskGoTuner, Task
from modicum.zeroshot.functional import kkt_residual
from modicum.zeroshot.head import fit_head
from modicum.zeroshot.scoring import WordPredictor, open_word_model

MINING = MineSettings(per_class=150, holdout=0.2)
WEAK = FitSettings(c=1.0)  # penalty; the directions of a random encoder are not as large as those of a trained one


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def index() -> CorpusIndex:
    return CorpusIndex.build(write_corpus(500))


@pytest.fixture(scope="module")
def mined(model: str, index: CorpusIndex) -> MinedSet:
    return GoTuner(model, task=TASK, mining=MINING).mine(index)


@pytest.mark.parametrize("labels", [2, 3])
def test_go_head_is_the_minimum(labels: int) -> None:
    # GO-C8
    features = torch.randn(120, 8, generator=torch_generator(0, "features"))
    classes = torch.arange(120) % labels
    features[torch.arange(120), classes] += 1
    head = fit_head(features, classes, 0.5)
    assert head.residual <= 1e-8
    theirs = LogisticRegression(C=1.0 if labels == 2 else 0.5, tol=1e-8, max_iter=1000).fit(features.double(), classes)
    np.testing.assert_allclose(head.scores(features).softmax(1), theirs.predict_proba(features.double()), atol=1e-5)
    # And what no scikit-learn had a part in: the objective by LBFGS from zero.
    weight = torch.zeros(labels, 8, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(labels, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=500, tolerance_grad=1e-10, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        solver.zero_grad()
        scores = features.double() @ weight.T + bias
        loss = torch.nn.functional.cross_entropy(scores, classes) + weight.square().sum() / (2 * 0.5 * 120)
        loss.backward()
        return loss

    solver.step(closure)  # type: ignore[arg-type]
    assert kkt_residual(weight.detach(), bias.detach(), features.double(), classes, 0.5) < 1e-7
    torch.testing.assert_close(head.weight, weight.detach().float(), rtol=0, atol=1e-5)
    torch.testing.assert_close(head.weight.sum(0), torch.zeros(8), rtol=0, atol=1e-6)


def test_before_a_fit_cosine_answers(model: str) -> None:
    tuner = GoTuner(model, task=TASK)
    texts, _ = write_texts(8)
    features = tuner.encoder.features([*texts, "it was terrible", "it was awful", "it was great", "it was lovely"])
    torch.testing.assert_close(features.norm(dim=1), torch.ones(12))
    bad, good = (torch.nn.functional.normalize(rows.mean(0), dim=0) for rows in (features[8:10], features[10:]))
    expected = 20 * features[:8] @ torch.stack([bad, good]).T
    torch.testing.assert_close(tuner.scores(texts), expected)
    np.testing.assert_allclose(tuner.predict_proba(texts).sum(1), 1, rtol=1e-6)


def test_go_head_learns_what_words_keep_company(model: str, mined: MinedSet) -> None:
    texts, labels = write_texts(300, seed=1)
    tuner = GoTuner(model, task=TASK, settings=WEAK).fit(mined)
    report = tuner.report
    assert report is not None
    assert (report.route, report.rows, report.held_out) == ("head", len(mined.training), len(mined.holdout))
    assert report.residual is not None
    assert report.overlap is not None
    assert report.residual <= 1e-8
    assert report.accuracy > report.baseline_accuracy + 0.1
    assert 0 <= report.overlap <= 1
    right = np.mean([TASK.labels.index(label) for label in tuner.predict(texts)] == np.array(labels))
    cosine = np.mean([TASK.labels.index(each) for each in GoTuner(model, task=TASK).predict(texts)] == np.array(labels))
    assert right > max(0.7, cosine + 0.1)


def test_swapped_words_swap_the_answers(model: str, index: CorpusIndex) -> None:
    # GO-C4
    texts, _ = write_texts(100, seed=1)
    swapped = Task(TASK.labels, {"bad": TASK.verbalizer["good"], "good": TASK.verbalizer["bad"]})
    answers = []
    for task in (TASK, swapped):
        tuner = GoTuner(model, task=task, settings=WEAK, mining=MineSettings(per_class=10_000))
        answers.append(tuner.fit(tuner.mine(index)).predict(texts))
    assert np.mean([one != other for one, other in zip(*answers, strict=True)]) > 0.9


def test_shuffled_classes_end_at_chance(model: str, mined: MinedSet) -> None:
    # GO-C4: one shuffle is a direction in feature space and may be far from a half; their mean is not.
    texts, labels = write_texts(300, seed=1)
    truth = np.array(TASK.labels)[labels]
    found = []
    for seed in range(10):
        shuffled = replace(mined, labels=numpy_generator(seed, "shuffle").permutation(mined.labels))
        found.append(np.mean(np.array(GoTuner(model, task=TASK, settings=WEAK).fit(shuffled).predict(texts)) == truth))
    assert np.mean(found) == pytest.approx(0.5, abs=0.15)


def test_encoder_route_begins_at_the_head(model: str, mined: MinedSet) -> None:
    texts, labels = write_texts(200, seed=1)
    truth = torch.tensor(labels)
    settings = replace(WEAK, steps=20, rate=1e-3, head_rate=1e-2)

    def loss(tuner: GoTuner) -> float:
        return float(torch.nn.functional.cross_entropy(tuner.scores(texts), truth))

    head = GoTuner(model, task=TASK, settings=settings).fit(mined)
    tuned = GoTuner(model, task=TASK, settings=settings).fit(mined, route="encoder")
    still = GoTuner(model, task=TASK, settings=replace(settings, rate=1e-12, head_rate=1e-12)).fit(mined, "encoder")
    assert loss(tuned) < 0.9 * loss(head)
    torch.testing.assert_close(still.scores(texts), head.scores(texts))
    again = GoTuner(model, task=TASK, settings=settings).fit(mined, route="encoder")
    assert torch.equal(again.scores(texts), tuned.scores(texts))
    assert torch.equal(tuned.fit(mined).scores(texts), head.scores(texts))  # a second fit begins anew


@pytest.mark.parametrize("route", ["head", "encoder"])
def test_save_and_open(route: str, model: str, mined: MinedSet, tmp_path: Path) -> None:
    # GO-C10
    tuner = GoTuner(model, task=TASK, settings=FitSettings(steps=3)).fit(mined, route=route)  # type: ignore[arg-type]
    tuner.save_pretrained(tmp_path / "tuned")
    texts, _ = write_texts(50, seed=2)
    opened = GoTuner.from_pretrained(tmp_path / "tuned")
    assert torch.equal(opened.scores(texts), tuner.scores(texts))
    assert (opened.task, opened.route, opened.settings) == (TASK, route, tuner.settings)
    with pytest.raises(ConfigError, match="has files in it"):
        tuner.save_pretrained(tmp_path / "tuned")
    (tmp_path / "tuned" / "gotuning.safetensors").write_bytes(b"")
    with pytest.raises(DataError):
        GoTuner.from_pretrained(tmp_path / "tuned")


def test_long_texts_are_the_mean_of_their_chunks(model: str, mined: MinedSet) -> None:
    tuner = GoTuner(model, task=TASK, settings=FitSettings(chunk=12)).fit(mined)
    one, other = "warm beach smile music the day was and we had", "cold storm late noise then came home"
    parts = tuner.scores([one, other])  # 12 and 9 tokens, with those at both ends
    torch.testing.assert_close(tuner.scores([f"{one} {other}"])[0], (12 * parts[0] + 9 * parts[1]) / 21)


def test_dropped_rows_are_those_that_cosine_contradicts(model: str, mined: MinedSet) -> None:
    tuner = GoTuner(model, task=TASK, settings=FitSettings(drop=0.5)).fit(mined)
    assert tuner.report is not None
    assert abs(tuner.report.rows - len(mined.training) / 2) <= 2


def test_suggested_words(model: str, index: CorpusIndex) -> None:
    tuner = GoTuner(model, task=TASK, mining=MINING)
    with pytest.raises(StateError, match="No corpus"):
        tuner.suggest_words("good")
    tuner.mine(index)
    # A word whose embedding is that of a label's word is the nearest one.
    table = tuner.encoder.network.get_input_embeddings().weight
    numbers = tuner.encoder.tokenizer.convert_tokens_to_ids(["holiday", "great"])
    table.data[numbers[0]] = table.data[numbers[1]]
    assert tuner.suggest_words("good", 3)[0] == "holiday"
    assert "holiday" not in tuner.suggest_words("bad")
    assert not {"great", "lovely", "terrible"} & set(tuner.suggest_words("good", 100))


def test_bad_input(model: str, mined: MinedSet, tmp_path: Path) -> None:
    tuner = GoTuner(model, task=TASK)
    for texts, said in (
        (["the day", " \n"], r"texts\[1\] is empty"),
        ("the day", "but one text came"),
        (pd.DataFrame({"text": ["the day"]}), "but a DataFrame came"),
        ({"text": ["the day"]}, "but a dict came"),
        (None, "but a NoneType came"),
        (pd.Series(["the day", np.nan]), r"texts\[1\] is missing"),
        (["the day", 3], r"texts\[1\] is of type int"),
        (["\ud83d"], "half a character"),
    ):
        with pytest.raises(DataError, match=said):
            tuner.predict_proba(texts)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="but one text came"):
        tuner.mine(["the day was great and long enough"], evaluation="the day")
    with pytest.raises(ConfigError, match="route must be"):
        tuner.fit(mined, route="other")  # type: ignore[arg-type]
    with pytest.raises(StateError, match="Nothing was fitted"):
        tuner.save_pretrained(tmp_path / "new")
    for labels in (["a", "b", "c"], list(reversed(TASK.labels))):
        task = Task(labels)
        with pytest.raises(ConfigError, match="were mined for bad, good, but the task has"):
            GoTuner(model, task=task).fit(mined)
        with pytest.raises(ConfigError, match="were mined for bad, good, but the task has"):
            MultiTaskGoTuner(model).fit([(task, mined)])
    with pytest.raises(ModelError, match=r"The tokenizer knows 0 of"):
        tuner.fit(replace(mined, texts=["ein fremder Satz"] * len(mined)))
    with pytest.raises(DataError, match=r"gotuning\.json"):
        GoTuner.from_pretrained(model)


def test_no_texts_and_any_iterable(model: str) -> None:
    tuner = GoTuner(model, task=TASK)
    assert tuner.predict([]) == []
    assert tuner.predict_proba([]).shape == (0, 2)
    texts, _ = write_texts(4)
    assert tuner.predict(text for text in texts) == tuner.predict(texts) == tuner.predict(pd.Series(texts))


def test_a_saved_model_without_its_tokenizer_is_refused(model: str, mined: MinedSet, tmp_path: Path) -> None:
    GoTuner(model, task=TASK).fit(mined).save_pretrained(tmp_path / "tuned")
    (tmp_path / "tuned" / "tokenizer.json").unlink()
    with pytest.raises(DataError, match="does not know the words of its own task"):
        GoTuner.from_pretrained(tmp_path / "tuned")


def test_label_rows_that_are_not_finite_are_refused(model: str, mined: MinedSet, tmp_path: Path) -> None:
    GoTuner(model, task=TASK).fit(mined).save_pretrained(tmp_path / "tuned")
    file = tmp_path / "tuned" / "gotuning.safetensors"
    rows = load_file(file)
    rows["weight"][0, 0] = np.nan
    save_file(rows, file)
    with pytest.raises(DataError, match="label rows that are not finite"):
        GoTuner.from_pretrained(tmp_path / "tuned")


def test_a_sequence_to_sequence_model_is_no_encoder(model: str, mined: MinedSet, tmp_path: Path) -> None:
    config = T5Config(vocab_size=60, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    T5Model(config).save_pretrained(tmp_path)
    BertTokenizer.from_pretrained(model).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="T5Model with this tokenizer is no plain encoder"):
        GoTuner(str(tmp_path), task=TASK).fit(mined)


@pytest.mark.parametrize(("route", "write"), [("mlm", write_bert), ("seq2seq", write_t5)])
def test_models_that_predict_words(route: Any, write: Any, tmp_path: Path) -> None:
    model = write(tmp_path / "model")
    task = Task(["bad", "good"], {"bad": ["terrible"], "good": ["great"]}, ["{text} it was {mask} ."])
    sentences = [f"{cast} was {word} and the {plot} was {other} ." for word, other, cast, plot in DRAWN]
    mining = MineSettings(per_class=40, formats=("inplace", "prompted"))
    tuner = GoTuner(model, task=task, mining=mining, settings=FitSettings(steps=60, batch=16, rate=3e-3))
    mined = tuner.mine(sentences)
    tuner.fit(mined, route)
    report = tuner.report
    assert report is not None
    assert (report.residual, report.overlap) == (None, None)
    assert report.accuracy > max(0.8, report.baseline_accuracy)
    texts = ["the film was and the plot was lovely .", "a story was and the plot was poor ."]
    assert not torch.equal(tuner.baseline().scores(texts), tuner.scores(texts))
    tuner.save_pretrained(tmp_path / "tuned")
    opened = GoTuner.from_pretrained(tmp_path / "tuned")
    assert torch.equal(opened.scores(texts), tuner.scores(texts))  # GO-C10
    assert torch.equal(opened.baseline().scores(texts), tuner.baseline().scores(texts))
    with pytest.raises(InputError):
        tuner.fit(mined, "seq2seq" if route == "mlm" else "mlm")


DRAWN = [
    (word, kinds[number % len(kinds)], f"{article} {noun} {number}", "plot")
    for word, kinds in (("great", ("clever", "lovely", "fine")), ("terrible", ("dull", "poor", "bad")))
    for number in range(30)
    for article, noun in (("the", "film"), ("a", "story"))
]


def test_calibration_and_abstention(model: str, mined: MinedSet) -> None:
    tuner = GoTuner(model, task=TASK)
    with pytest.raises(StateError, match="Nothing was fitted"):
        tuner.abstention()
    tuner.fit(mined)
    texts, _ = write_texts(100, seed=4)
    scores = tuner.scores(texts)
    with pytest.warns(UserWarning, match="equally frequent"):
        moved = tuner.scores(texts, "batch-mean")
    torch.testing.assert_close(scores - moved, (scores - moved)[:1].expand(100, -1))
    with pytest.warns(UserWarning, match="empty text"):
        assert tuner.predict_proba(texts, "content-free").shape == (100, 2)
    with pytest.raises(ConfigError, match="calibration must be"):
        tuner.predict(texts, "other")  # type: ignore[arg-type]
    # Those left open are those near a half, and the more the smaller alpha is.
    few, many = tuner.abstention(0.3).abstains(scores), tuner.abstention(0.05).abstains(scores)
    assert few.sum() < many.sum()
    assert scores.softmax(1).max(1).values[many].max() <= scores.softmax(1).max(1).values[~many].min()


def test_where_training_began_is_found_from_anywhere(
    model: str, mined: MinedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copytree(model, tmp_path / "encoder")
    monkeypatch.chdir(tmp_path)
    tuner = GoTuner("encoder", task=TASK, settings=FitSettings(steps=1)).fit(mined, "encoder")
    tuner.save_pretrained("tuned")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    opened = GoTuner.from_pretrained(tmp_path / "tuned")
    assert torch.equal(opened.baseline().scores(["the day"]), tuner.baseline().scores(["the day"]))
    (tmp_path / "encoder").rename(tmp_path / "moved")
    with pytest.raises(ModelError, match=r"What .*tuned was tuned from cannot be opened.*encoder' cannot be loaded"):
        opened.baseline()


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        *[(MineSettings, {"formats": given}, "formats must be one of") for given in (("foo",), (), "foo", 1)],
        (MineSettings, {"holdout": 1.5}, r"holdout must be a number from 0.01 to less than 0.9, got 1.5. Write 0.1"),
        (MineSettings, {"per_class": 0}, "per_class must be"),
        *[(FitSettings, {"drop": given}, "drop must be") for given in (1.5, -0.5)],
        *[(FitSettings, {"c": given}, "c must be") for given in (-1, float("nan"), "much")],
        (FitSettings, {"chunk": 1}, "chunk must be"),
    ],
)
def test_settings_out_of_range_are_refused(kind: Any, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**given)


def test_settings_are_taken_as_they_are_typed() -> None:
    assert MineSettings(formats="context", per_class="9") == MineSettings(formats=("context",), per_class=9)  # type: ignore[arg-type]
    assert MineSettings(formats=["inplace"]).formats == ("inplace",)  # type: ignore[arg-type]


def test_a_chunk_beyond_the_positions_is_refused(model: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="chunk is 81, but the encoder takes 80 tokens"):
        GoTuner(model, task=TASK, settings=FitSettings(chunk=81)).predict(["the day"])
    with pytest.raises(ConfigError, match="chunk is 97, but the model takes 96 tokens"):
        WordPredictor(open_word_model(write_bert(tmp_path), "mlm"), TASK, length=97)


def test_a_tokenizer_that_cannot_cut_is_refused(tmp_path: Path) -> None:
    config = T5Config(vocab_size=384, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    ByT5Tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"ByT5Tokenizer of .* cannot cut long texts"):
        open_word_model(str(tmp_path), "seq2seq")
    with pytest.raises(ModelError, match=r"ByT5Tokenizer of .* cannot cut long texts"):
        GoTuner(str(tmp_path), task=TASK).predict(["the day"])
