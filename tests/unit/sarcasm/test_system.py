"""Systems of n-grams and of encoders: what they read, what they say of it, and their folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, logit
from torch import Tensor

from modicum.errors import ConfigError, DataError, ModelError
from modicum.sarcasm.comparison import make_tiny_encoder
from modicum.sarcasm.configuration import Settings
from modicum.sarcasm.data.examples import Example, Pair
from modicum.sarcasm.data.preparation import PRESETS
from modicum.sarcasm.encoder.explanation import explain
from modicum.sarcasm.encoder.model import EncoderModel, EnsembleModel
from modicum.sarcasm.evaluate.scores import score_c
from modicum.sarcasm.explanation import Share
from modicum.sarcasm.fitting import fit, fit_system
from modicum.sarcasm.linear import LinearLearner, LinearModel
from modicum.sarcasm.models import Outputs, TextModel
from modicum.sarcasm.system import Readings, SarcasmSystem
from modicum.sarcasm.written import read_written

KNOWN = [*read_written("en")[:60], *read_written("ar")[:60]]
UNSEEN = [*read_written("en")[60:90], *read_written("ar")[60:90]]
PAIRS = [
    Pair(texts=(it.text, it.rephrase), language=it.language, sarcastic=0, dialect=it.dialect)
    for it in UNSEEN
    if it.rephrase is not None
]
Make = Callable[[Path], None]


def swapped(pairs: Sequence[Pair]) -> list[Pair]:
    return [replace(pair, texts=pair.texts[::-1], sarcastic=1 - (pair.sarcastic or 0)) for pair in pairs]


@pytest.fixture(scope="module")
def ngrams() -> SarcasmSystem:
    return fit_system(KNOWN, LinearLearner(), robustness=PRESETS["modicum"], folds=2).system


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("encoder")
    return str(make_tiny_encoder(folder, [text for it in KNOWN for text in (it.text, it.rephrase) if text], seed=0))


@pytest.fixture(scope="module")
def encoder(place: str) -> SarcasmSystem:
    return fit(KNOWN, Settings(model=place, folds=2, epochs=1, batch=16, rate=1e-3, pooling="mean")).system


@pytest.fixture(params=["ngrams", "encoder"])
def system(request: pytest.FixtureRequest) -> SarcasmSystem:
    return request.getfixturevalue(request.param)


def numbers(readings: Readings) -> list[np.ndarray]:
    assert readings.category_probabilities is not None
    assert readings.category_labels is not None
    return [
        readings.probabilities,
        readings.labels,
        readings.category_probabilities,
        readings.category_labels,
    ]


def assert_is_the_same(one: SarcasmSystem, other: SarcasmSystem) -> None:
    # The weights of an encoder come back to the last bit, but at another place in memory, where sums round otherwise.
    error = 0 if isinstance(one.model, LinearModel) else 1e-6
    for mine, yours in zip(weights(one.model), weights(other.model), strict=True):
        for name, tensor in mine.items():
            assert torch.equal(tensor, yours[name])
    for mine, yours in zip(numbers(one.read(UNSEEN)), numbers(other.read(UNSEEN)), strict=True):
        np.testing.assert_allclose(mine, yours, rtol=0, atol=error)
    np.testing.assert_allclose(one.compare(PAIRS), other.compare(PAIRS), rtol=0, atol=error)
    shares = [[it.share for it in system.explain(UNSEEN[0])] for system in (one, other)]
    np.testing.assert_allclose(*shares, rtol=0, atol=error)


def weights(model: TextModel) -> list[dict[str, Tensor]]:
    members = model.members if isinstance(model, EnsembleModel) else (model,)
    return [it.model.state_dict() for it in members if isinstance(it, EncoderModel)]


def test_readings_are_probabilities_and_labels_of_both_tasks(system: SarcasmSystem) -> None:
    probabilities, labels, categories, named = numbers(system.read(UNSEEN))
    assert [it.shape for it in (probabilities, labels, categories, named)] == [(60,), (60,), (60, 6), (60, 6)]
    thresholds = np.array([system.decision.thresholds[it.language] for it in UNSEEN])
    np.testing.assert_array_equal(labels, probabilities >= thresholds)
    assert (categories <= probabilities[:, None]).all(), "a category is likelier than sarcasm"
    assert probabilities.std() > 0.01


def test_labels_that_texts_carry_are_not_looked_at(system: SarcasmSystem) -> None:
    bare = [Example(text=it.text, language=it.language, dialect=it.dialect) for it in UNSEEN]
    for mine, yours in zip(numbers(system.read(UNSEEN)), numbers(system.read(bare)), strict=True):
        np.testing.assert_array_equal(mine, yours)


def test_readings_come_in_the_order_of_the_texts_whatever_is_beside_them(system: SarcasmSystem) -> None:  # XPUDU-C6
    order = np.random.default_rng(0).permutation(len(UNSEEN))
    together = numbers(system.read(UNSEEN))
    for part, whole in zip(numbers(system.read([UNSEEN[at] for at in order])), together, strict=True):
        np.testing.assert_allclose(part, whole[order], atol=1e-6)
    for at in (0, 31):
        for part, whole in zip(numbers(system.read([UNSEEN[at]])), together, strict=True):
            np.testing.assert_allclose(part[0], whole[at], atol=1e-6)
    np.testing.assert_allclose(system.compare(PAIRS[::-1]), system.compare(PAIRS)[::-1], atol=1e-6)


def test_of_no_text_there_are_no_readings(system: SarcasmSystem) -> None:
    assert [it.shape for it in numbers(system.read([]))] == [(0,), (0,), (0, 6), (0, 6)]
    assert system.compare([]).shape == (0,)


def test_exchanging_two_texts_exchanges_the_probabilities(system: SarcasmSystem) -> None:  # XPUDU-C5
    there, back = system.compare(PAIRS), system.compare(swapped(PAIRS))
    np.testing.assert_allclose(there + back, 1, atol=1e-7)
    assert len(PAIRS) > 20
    assert (np.abs(there - 0.5) > 1e-6).all(), "a tie tells nothing of what is flipped"
    np.testing.assert_array_equal(there > 0.5, back <= 0.5)


def test_the_swapped_file_of_pairs_has_the_same_accuracy(system: SarcasmSystem) -> None:  # XPUDU-C5
    def accuracy(pairs: Sequence[Pair]) -> float:
        return score_c([it.sarcastic or 0 for it in pairs], (system.compare(pairs) > 0.5).astype(int)).accuracy

    mixed = [*PAIRS[:7], *swapped(PAIRS[7:])]
    assert accuracy(mixed) == accuracy(swapped(mixed))


def test_the_dialect_stands_in_front_in_use_as_in_training(system: SarcasmSystem) -> None:
    arabic = next(it for it in UNSEEN if it.dialect == "nile")
    written = replace(arabic, text=f"nile: {arabic.text}", dialect=None)
    bare = replace(arabic, dialect=None)
    first, second, third = system.read([arabic, written, bare]).probabilities
    assert first == second
    assert first != third


def test_the_dialect_stands_in_front_of_both_texts_of_a_pair(ngrams: SarcasmSystem) -> None:
    pair = next(it for it in PAIRS if it.dialect)
    rank = ngrams.model([f"{pair.dialect}: {text}" for text in pair.texts]).rank
    assert rank is not None
    assert ngrams.compare([pair])[0] == expit(rank[1] - rank[0])
    assert ngrams.compare([pair])[0] != ngrams.compare([replace(pair, dialect=None)])[0]


def test_texts_are_cleaned_before_they_are_read(system: SarcasmSystem) -> None:
    dirty = Example(text="  @someone Lovely\nweather &amp; https://a.b/c ", language="en")
    neat = Example(text="USER Lovely weather & URL", language="en")
    first, second = system.read([dirty, neat]).probabilities
    assert first == second


def test_shares_of_ngrams_sum_to_the_logit_less_its_intercept(ngrams: SarcasmSystem) -> None:  # XPUDU-C8
    assert isinstance(ngrams.model, LinearModel)
    for example in UNSEEN[::7]:
        shares, text = ngrams.explain(example), ngrams.preparation.text(example)
        wanted = ngrams.model([text]).sarcastic[0] - ngrams.model.sarcastic.intercept[0]
        assert sum(it.share for it in shares) == pytest.approx(wanted, abs=1e-9)
        assert [it.text for it in shares] == text.split()
        assert all(text[it.start : it.end] == it.text for it in shares)


def test_shares_of_an_ensemble_are_means_that_sum_to_its_logit(encoder: SarcasmSystem) -> None:  # XPUDU-C8
    assert isinstance(encoder.model, EnsembleModel)
    for example in (UNSEEN[0], UNSEEN[-1]):
        text = encoder.preparation.text(example)
        members = [explain(member, text) for member in encoder.model.members]
        shares = encoder.explain(example)
        baseline = np.mean([it.baseline for it in members])
        assert sum(it.share for it in shares) == pytest.approx(encoder.model([text]).sarcastic[0] - baseline, abs=1e-3)
        assert [(it.start, it.end) for it in shares] == [(it.start, it.end) for it in members[0].tokens]
        assert "".join(it.text for it in shares) == "".join(text.split())
        first = [one.tokens[0].share for one in members]
        assert first[0] != first[1]
        assert shares[0].share == pytest.approx(np.mean(first))


def summed(shares: tuple[list[Share], list[Share]]) -> float:
    return sum(it.share for part in shares for it in part)


def test_shares_of_a_pair_sum_to_the_logit_that_the_second_is_sarcastic(ngrams: SarcasmSystem) -> None:  # XPUDU-C8
    for pair in PAIRS[::5]:
        shares = ngrams.explain_pair(pair)
        assert summed(shares) == pytest.approx(logit(ngrams.compare([pair])[0]), abs=1e-9)
        for part, text in zip(shares, ngrams.preparation.pair(pair).texts, strict=True):
            assert [it.text for it in part] == text.split()
            assert all(text[it.start : it.end] == it.text for it in part)


def test_shares_of_a_pair_in_an_ensemble_sum_to_the_logit_less_that_of_padding(encoder: SarcasmSystem) -> None:
    # XPUDU-C8
    assert isinstance(encoder.model, EnsembleModel)
    for pair in (PAIRS[0], PAIRS[-1]):
        texts = encoder.preparation.pair(pair).texts
        found = [[explain(member, text, head="rank") for text in texts] for member in encoder.model.members]
        wanted = logit(encoder.compare([pair])[0]) - np.mean([two.baseline - one.baseline for one, two in found])
        gaps = sum(one.gap + two.gap for one, two in found) / len(found)
        assert gaps < 1e-5 < abs(wanted) / 10, "nearly untrained, and its logits are small"
        assert summed(encoder.explain_pair(pair)) == pytest.approx(wanted, abs=1e-5)


def test_shares_of_texts_with_equally_many_tokens_sum_to_the_logit_itself(encoder: SarcasmSystem) -> None:  # XPUDU-C8
    pair = Pair(texts=("the bus is late again", "late late late late the"), language="en")
    shares, wanted = encoder.explain_pair(pair), logit(encoder.compare([pair])[0])
    assert len(shares[0]) == len(shares[1])
    assert abs(wanted) > 1e-3
    assert summed(shares) == pytest.approx(wanted, abs=1e-5)


def test_exchanging_two_texts_exchanges_their_shares_and_all_signs(system: SarcasmSystem) -> None:
    there, back = (system.explain_pair(it) for it in (PAIRS[0], *swapped(PAIRS[:1])))
    for mine, yours in zip(there, back[::-1], strict=True):
        assert [it.text for it in mine] == [it.text for it in yours]
        assert [it.share for it in mine] == pytest.approx([-it.share for it in yours], abs=1e-6)
    assert any(it.share for it in there[0])


@dataclass(frozen=True)
class Lengths:
    """A model of another kind: the longer, the more sarcastic."""

    def __call__(self, texts: Sequence[str]) -> Outputs:
        return Outputs(sarcastic=np.array([len(it) / 40 - 1 for it in texts]))

    def save(self, folder: Path) -> None:
        folder.mkdir()


def test_another_model_is_read_but_not_taken_apart(ngrams: SarcasmSystem) -> None:
    system = replace(ngrams, model=Lengths())
    readings = system.read(UNSEEN)
    assert readings.category_probabilities is None
    assert readings.category_labels is None
    with pytest.raises(ModelError, match=r"This model cannot be taken apart. Explain n-grams or an encoder"):
        system.explain(UNSEEN[0])
    with pytest.raises(ModelError, match=r"This model cannot be taken apart"):
        system.explain_pair(PAIRS[0])


def test_a_language_without_a_threshold_is_named() -> None:
    english = fit_system(KNOWN[:60], LinearLearner(), robustness=PRESETS["modicum"], folds=2).system
    with pytest.raises(ConfigError, match=r"no threshold for 'ar', only for en. Train on texts of that language"):
        english.read(UNSEEN)


def test_comparing_needs_rephrases_and_categories_are_none_without_them() -> None:
    bare = [Example(text=it.text, language=it.language, sarcastic=it.sarcastic) for it in KNOWN]
    system = fit_system(bare, LinearLearner(), robustness=PRESETS["plain"], folds=2).system
    with pytest.raises(ConfigError, match=r"cannot compare texts. Fit it on examples that have a rephrase"):
        system.compare(PAIRS)
    with pytest.raises(ModelError, match=r"ranks no texts. Fit it on examples that have a rephrase"):
        system.explain_pair(PAIRS[0])
    readings = system.read(UNSEEN)
    assert (readings.category_probabilities, readings.category_labels) == (None, None)


def test_what_is_saved_comes_back(system: SarcasmSystem, tmp_path: Path) -> None:
    system.save(tmp_path / "system")
    loaded = SarcasmSystem.load(tmp_path / "system")
    assert (loaded.preparation, loaded.decision) == (system.preparation, system.decision)
    assert type(loaded.model) is type(system.model)
    assert_is_the_same(loaded, system)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".pkl", ".bin", ".pt", ".joblib"}]


def test_all_that_is_decided_survives_the_folder(ngrams: SarcasmSystem, tmp_path: Path) -> None:
    shares = replace(ngrams.decision, rule="top_share", categories=None)
    system = replace(ngrams, preparation=PRESETS["plain"].preparation, decision=shares)
    system.save(tmp_path / "system")
    loaded = SarcasmSystem.load(tmp_path / "system")
    assert (loaded.preparation, loaded.decision) == (system.preparation, system.decision)
    np.testing.assert_array_equal(loaded.read(UNSEEN).labels, system.read(UNSEEN).labels)


def test_a_single_encoder_is_loaded_again(place: str, tmp_path: Path) -> None:
    settings = Settings(model=place, preset="plain", folds=1, epochs=1, batch=16, rate=1e-3, pooling="mean")
    system = fit(KNOWN, settings).system
    assert isinstance(system.model, EnsembleModel)
    system = replace(system, model=system.model.members[0])  # as an earlier modicum could save one
    system.save(tmp_path / "system")
    assert_is_the_same(SarcasmSystem.load(tmp_path / "system"), system)


def test_a_folder_in_use_is_left_alone(ngrams: SarcasmSystem, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"has files in it. Name a new folder"):
        ngrams.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_model_that_cannot_be_written_leaves_nothing(ngrams: SarcasmSystem, tmp_path: Path) -> None:
    class Full(Lengths):
        def save(self, folder: Path) -> None:
            folder.mkdir()
            raise OSError(28, "No space left on device")

    with pytest.raises(ConfigError, match=r"cannot be written \(No space left on device\)"):
        replace(ngrams, model=Full()).save(tmp_path / "system")
    assert list(tmp_path.iterdir()) == []


def changed(**changes: Any) -> Make:
    def make(folder: Path) -> None:
        path = folder / "system.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return make


def without(name: str) -> Make:
    def make(folder: Path) -> None:
        path = folder / "system.json"
        read = json.loads(path.read_text())
        del read[name]
        path.write_text(json.dumps(read))

    return make


def written(text: str) -> Make:
    def make(folder: Path) -> None:
        (folder / "system.json").write_text(text)

    return make


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            changed(version=2),
            r"has version 2 of the format, but this modicum reads version 1. Read it with the version",
        ),
        (changed(format="other"), r"is no sarcasm system of modicum"),
        (written("[]"), r"is no sarcasm system of modicum"),
        (written('{"format": "modicum'), r"system.json cannot be read .* Give a folder that save_pretrained"),
        (without("preparation"), r"system.json is damaged \(preparation: Field required"),
        (without("decision"), r"system.json is damaged \(decision: Field required"),
        (changed(preparation={"clean": 1}), r"system.json is damaged \(preparation.clean"),
        (changed(preparation=[]), r"system.json is damaged \(preparation"),
        (changed(decision={"rule": "half"}), r"decides by is damaged \(languages: Field required"),
        (
            changed(decision={"rule": "guess", "languages": {}, "categories": None}),
            r"decides by is damaged \(rule: Input should be 'oof_f1'",
        ),
        (lambda folder: shutil.rmtree(folder / "model"), r"model is missing. Give a folder that save_pretrained"),
        (lambda folder: (folder / "model" / "model.json").unlink(), "model.json cannot be read"),
        (lambda folder: (folder / "model" / "weights.safetensors").write_bytes(b"12345678"), "no complete safetensors"),
    ],
)
def test_a_damaged_folder_says_what_is_wrong(ngrams: SarcasmSystem, damage: Make, message: str, tmp_path: Path) -> None:
    ngrams.save(tmp_path / "system")
    damage(tmp_path / "system")
    with pytest.raises(DataError, match=message):
        SarcasmSystem.load(tmp_path / "system")


def test_a_folder_that_is_none_is_named(ngrams: SarcasmSystem, place: str, tmp_path: Path) -> None:
    for folder in (tmp_path / "nowhere", Path(place)):
        with pytest.raises(ConfigError, match=r"holds no sarcasm system: there is no system.json. Give a folder"):
            SarcasmSystem.load(folder)


def test_the_encoder_within_must_be_of_this_kind(encoder: SarcasmSystem, place: str, tmp_path: Path) -> None:
    encoder.save(tmp_path / "system")
    shutil.rmtree(tmp_path / "system" / "model" / "1")
    shutil.copytree(place, tmp_path / "system" / "model" / "1")
    with pytest.raises(ModelError, match="holds a model of type 'bert', not 'modicum-sarcasm'"):
        SarcasmSystem.load(tmp_path / "system")
