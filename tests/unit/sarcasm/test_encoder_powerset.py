"""A softmax over combinations of categories, whose six logits are used as those of six sigmoids are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from tests.unit.sarcasm.test_encoder_modeling import ENCODERS, SIZES, tokens
from tests.unit.sarcasm.tiny_encoder import write_encoder, write_examples
from transformers import XLMRobertaConfig

from modicum.core.seeding import seeded_globally
from modicum.errors import ConfigError
from modicum.sarcasm.encoder.configuration import SarcasmConfig
from modicum.sarcasm.encoder.learner import EncoderLearner
from modicum.sarcasm.encoder.losses import Counts, Objective, Targets, joint_loss
from modicum.sarcasm.encoder.model import EncoderModel, EnsembleModel
from modicum.sarcasm.encoder.modeling import SarcasmModel, SarcasmOutput
from modicum.sarcasm.encoder.training import Recipe
from modicum.sarcasm.examples import Example
from modicum.sarcasm.fitting import fit_system
from modicum.sarcasm.learners import mean_of
from modicum.sarcasm.robustness import find_preset

FIRST, SECOND, RARE = (1, 0, 0, 0, 0, 0), (0, 1, 0, 0, 0, 0), (1, 0, 0, 1, 0, 0)
COMBINATIONS = [SECOND, FIRST, RARE]  # sorted
TEXTS = [example.text for example in write_examples(20, seed=1)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


def examples(count: int = 24, *, rare: int = 1) -> list[Example]:
    """Write examples, of which so many have a combination that the others have not."""
    found = write_examples(count)
    return [
        replace(it, categories=RARE if it.sarcastic and place < 2 * rare else it.categories)
        for place, it in enumerate(found)
    ]


def learner(place: str, **changes: Any) -> EncoderLearner:
    recipe = Recipe(epochs=1, batch=8, rate=1e-3, layer_decay=1.0)
    return EncoderLearner(**{"encoder": place, "category_head": "powerset", "length": 24, "recipe": recipe} | changes)


@pytest.fixture(scope="module")
def model(place: str) -> EncoderModel:
    return learner(place, recipe=Recipe(epochs=6, batch=8, rate=3e-3, layer_decay=1.0)).fit(examples(60), seed=0)


def drawn(**settings: Any) -> SarcasmModel:
    with seeded_globally(0, "model"):
        return SarcasmModel(SarcasmConfig(encoder=ENCODERS["bert"], **settings)).eval()


@torch.no_grad()
def test_the_six_logits_are_sums_of_a_softmax_over_the_combinations() -> None:
    model = drawn(category_head="powerset", combinations=COMBINATIONS)
    outputs = model(tokens(4, 7))
    assert outputs.combinations.shape == (4, 3)
    p = softmax(outputs.combinations.double().numpy(), axis=1)
    found = outputs.categories.double().numpy()
    np.testing.assert_allclose(
        expit(found[:, [0, 1, 3]]), np.stack([p[:, 1] + p[:, 2], p[:, 0], p[:, 2]], 1), rtol=1e-5
    )
    np.testing.assert_array_equal(found[:, [2, 4, 5]], -16)


def test_six_sigmoids_have_no_combinations() -> None:
    model = drawn()
    assert model(tokens(2, 7)).combinations is None
    assert model.categories.out_proj.weight.shape == (6, SIZES["hidden_size"])


def test_the_loss_is_the_cross_entropy_of_the_combinations_on_sarcastic_texts() -> None:
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    outputs = SarcasmOutput(
        sarcastic=torch.zeros(3), categories=torch.zeros(3, 6), rank=torch.zeros(3), combinations=logits
    )
    targets = Targets(
        sarcastic=torch.tensor([1.0, 0.0, 1.0]),
        language=torch.zeros(3, dtype=torch.int64),
        categories=torch.tensor([RARE, [float("nan")] * 6, SECOND]),
        parents=torch.zeros(0, dtype=torch.int64),
    )
    objective = Objective(weights=(0, 1, 0))
    counts = Counts.of(examples(), objective, combinations=COMBINATIONS)
    found = float(joint_loss(outputs, targets, counts, objective))
    p = softmax(logits.numpy(), axis=1)
    assert found == pytest.approx(-np.log([p[0, 2], p[2, 0]]).mean(), rel=1e-5)


def test_combinations_are_those_of_the_sarcastic_training_texts_in_order(place: str) -> None:
    config = learner(place).fit(examples(), seed=0).model.config
    assert config.category_head == "powerset"
    assert [tuple(it) for it in config.combinations] == COMBINATIONS


def test_combinations_are_learnt(place: str) -> None:
    recipe = Recipe(epochs=12, batch=8, rate=5e-3, layer_decay=1.0)
    alone = learner(place, pooling="mean", recipe=recipe, objective=Objective(weights=(0, 1, 0)))
    model = alone.fit(write_examples(160), seed=0)
    unseen = [example for example in write_examples(60, seed=1) if example.sarcastic]
    outputs = model([example.text for example in unseen])
    assert outputs.categories is not None
    assert np.mean((outputs.categories > 0) == np.array([example.categories for example in unseen])) > 0.95


def test_training_minimises_the_loss_of_the_combinations_which_has_no_weights(place: str) -> None:
    def fit(**changes: Any) -> np.ndarray:
        found = [
            learner(place, objective=Objective(category_cap=cap), **changes).fit(examples(), seed=0) for cap in (1, 9)
        ]
        first, second = (it(TEXTS).categories for it in found)
        assert first is not None
        assert second is not None
        return first - second

    assert not fit().any()
    assert fit(category_head="sigmoid").any(), "the cap makes no difference to this split"


def test_a_fit_is_a_function_of_its_seed(place: str) -> None:
    one, again = (learner(place).fit(examples(), seed=0)(TEXTS).categories for _ in range(2))
    assert np.array_equal(one, again)  # type: ignore[arg-type]


def test_without_categories_there_is_nothing_to_combine(place: str) -> None:
    bare = [replace(example, categories=None) for example in examples()]
    fitted = learner(place).fit(bare, seed=0)
    assert fitted(TEXTS).categories is None
    unasked = learner(place, objective=Objective(weights=(1, 0, 1))).fit(examples(), seed=0)
    assert unasked.model.config.combinations == []


def test_one_combination_alone_is_certain(place: str) -> None:
    same = [replace(example, categories=FIRST if example.sarcastic else None) for example in examples()]
    categories = learner(place).fit(same, seed=0)(TEXTS).categories
    np.testing.assert_array_equal(categories, [[16] + [-16] * 5] * len(TEXTS))


def test_a_saved_model_gives_the_same(model: EncoderModel, tmp_path: Path) -> None:
    model.save(tmp_path / "saved")
    back = EncoderModel.load(tmp_path / "saved")
    assert back.model.config.combinations == model.model.config.combinations
    np.testing.assert_allclose(back(TEXTS).categories, model(TEXTS).categories, rtol=0, atol=1e-5)  # type: ignore[arg-type]


def test_a_model_that_was_saved_before_there_was_a_choice_is_loaded(place: str, tmp_path: Path) -> None:
    model = learner(place, category_head="sigmoid").fit(examples(), seed=0)
    model.save(tmp_path / "saved")
    path = tmp_path / "saved" / "config.json"
    written = {
        name: it for name, it in json.loads(path.read_text()).items() if name not in {"category_head", "combinations"}
    }
    path.write_text(json.dumps(written))
    back = EncoderModel.load(tmp_path / "saved")
    assert back.model.config.category_head == "sigmoid"
    np.testing.assert_allclose(back(TEXTS).categories, model(TEXTS).categories, rtol=0, atol=1e-6)  # type: ignore[arg-type]


def test_members_of_an_ensemble_may_know_other_combinations(place: str, model: EncoderModel, tmp_path: Path) -> None:
    other = learner(place).fit(examples(rare=0), seed=1)
    assert len(other.model.config.combinations) == 2
    ensemble = EnsembleModel((model, other))
    found = ensemble(TEXTS).categories
    np.testing.assert_allclose(found, (model(TEXTS).categories + other(TEXTS).categories) / 2)  # type: ignore[operator]
    ensemble.save(tmp_path / "saved")
    np.testing.assert_allclose(EnsembleModel.load(tmp_path / "saved")(TEXTS).categories, found, atol=1e-5)  # type: ignore[arg-type]


def test_a_combination_of_held_out_texts_alone_breaks_nothing(place: str) -> None:
    fitted = fit_system(
        examples(40),
        learner(place),
        robustness=find_preset("plain"),
        folds=2,
        seed=0,
        joined=mean_of,
    )
    known = [len(member.model.config.combinations) for member in fitted.system.model.members]  # type: ignore[attr-defined]
    assert sorted(known) == [2, 3]
    readings = fitted.system.read(examples(4))
    assert readings.category_labels is not None


@pytest.mark.parametrize(
    ("head", "combinations"),
    [
        ("powerset", []),
        ("powerset", [FIRST, FIRST]),
        ("powerset", [(1, 0)]),
        ("powerset", [(2, 0, 0, 0, 0, 0)]),
        ("sigmoid", [FIRST]),
    ],
)
def test_combinations_that_do_not_fit_are_refused(head: Any, combinations: list[tuple[int, ...]]) -> None:
    with pytest.raises(
        ConfigError, match=r"category_head is '\w+', and combinations .* Give 'powerset' different ones"
    ):
        SarcasmConfig(encoder=XLMRobertaConfig(**SIZES), category_head=head, combinations=combinations)


def test_a_loss_of_single_categories_is_refused(place: str) -> None:
    with pytest.raises(ConfigError, match=r"The loss of the categories is 'asymmetric', .* Use 'cross_entropy', or"):
        learner(place, objective=Objective(categories="asymmetric"))
