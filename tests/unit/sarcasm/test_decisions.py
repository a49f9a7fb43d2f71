"""From outputs to labels."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.special import expit, logit
from sklearn.metrics import f1_score

from modicum.errors import ConfigError, DataError
from modicum.sarcasm.data.examples import Example, Language
from modicum.sarcasm.decisions import Decision, Rule, Scaling, decide
from modicum.sarcasm.functional import prior_shift
from modicum.sarcasm.models import Outputs

STEPS = {"logits": [-1.0, 1.0], "probabilities": [0.0, 1.0]}  # isotonic, as an earlier modicum could fit it
LANGUAGES: list[Language] = ["en", "ar", "ar", "en"]
OUTPUTS = Outputs(sarcastic=np.array([-1.0, -1.0, 1.0, 1.0]), categories=np.linspace(-2, 2, 24).reshape(4, 6))


def decision(rule: Rule = "oof_f1", **changes: object) -> Decision:
    parts: dict[str, object] = {
        "calibrations": {"en": Scaling(temperature=2.0), "ar": Scaling(bias=-3.0)},
        "thresholds": {"en": 0.3, "ar": 0.2},
        "shares": {"en": 0.5, "ar": 0.5},
        "categories": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
    }
    return Decision(rule=rule, **(parts | changes))  # pyright: ignore[reportArgumentType]


def learnt(count: int, language: Language, seed: int) -> tuple[list[Example], np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=count)
    labels = generator.random(count) < expit(2 * logits - 1)
    categories = np.where(labels[:, None], generator.random((count, 6)) < 0.4, 0)
    examples = [
        Example(text="a", language=language, sarcastic=int(label), categories=tuple(row) if language == "en" else None)
        for label, row in zip(labels, categories.tolist(), strict=True)
    ]
    return examples, logits, generator.normal(size=(count, 6))


def test_each_text_has_the_calibration_and_the_threshold_of_its_language() -> None:
    wanted = expit([-0.5, -4.0, -2.0, 0.5])
    assert decision().probabilities(OUTPUTS, LANGUAGES) == pytest.approx(wanted, rel=1e-12)
    assert decision().labels(OUTPUTS, LANGUAGES).tolist() == [1, 0, 0, 1]
    assert decision("half").labels(OUTPUTS, LANGUAGES).tolist() == [0, 0, 0, 1]


def test_top_share_labels_the_highest_of_each_language() -> None:
    assert decision("top_share").labels(OUTPUTS, LANGUAGES).tolist() == [0, 0, 1, 1]


def test_categories_pass_the_gate() -> None:
    given = decision().category_probabilities(OUTPUTS, LANGUAGES)
    assert OUTPUTS.categories is not None
    wanted = expit([-0.5, -4.0, -2.0, 0.5])[:, None] * expit(OUTPUTS.categories)
    assert given == pytest.approx(wanted, rel=1e-12)
    labels = decision().category_labels(OUTPUTS, LANGUAGES)
    assert np.array_equal(labels, wanted >= [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


def test_shifted_prior_is_found_where_only_the_share_has_changed() -> None:
    generator = np.random.default_rng(5)

    def texts(positives: int, negatives: int) -> np.ndarray:
        # Two normals one unit either side of 0: the logit of an even share is 2x.
        return 2 * np.append(generator.normal(1, 1, positives), generator.normal(-1, 1, negatives))

    logits, labels = texts(500, 4500), np.repeat([1, 0], [500, 4500])
    plain = decision("prior_shift", calibrations={"en": Scaling()}, thresholds={"en": 0.5}, shares={"en": 0.5})
    outputs = Outputs(sarcastic=logits)
    languages: list[Language] = ["en"] * 5000
    chances = plain.probabilities(outputs, languages)
    expected, share = prior_shift(torch.from_numpy(expit(logits)), 0.5)
    assert share == pytest.approx(0.1, abs=0.015)
    assert chances == pytest.approx(expected.numpy(), rel=1e-12)
    corrected = f1_score(labels, plain.labels(outputs, languages))
    assert corrected > f1_score(labels, logits > 0) + 0.05


def test_thresholds_are_chosen_for_each_language_alone() -> None:
    english, logits, categories = learnt(300, "en", 1)
    arabic, others, more = learnt(200, "ar", 2)
    both = Outputs(sarcastic=np.append(logits, others), categories=np.vstack([categories, more]))
    found = decide(both, [*english, *arabic])
    alone = decide(Outputs(sarcastic=logits, categories=categories), english)
    assert found.thresholds["en"] == alone.thresholds["en"]
    assert found.calibrations["en"] == alone.calibrations["en"]
    # Nothing is known of the categories of Arabic texts, so they have no say.
    assert found.categories == alone.categories
    assert found.shares["en"] == np.mean([it.sarcastic == 1 for it in english])


def test_decisions_survive_json() -> None:
    examples, logits, categories = learnt(300, "en", 6)
    found = decide(Outputs(sarcastic=logits, categories=categories), examples)
    assert Decision.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert Decision.from_dict(json.loads(json.dumps(decision().to_dict()))) == decision()


def test_a_language_without_a_threshold_is_refused_by_name() -> None:
    alone = decision(calibrations={"en": Scaling()}, thresholds={"en": 0.3}, shares={"en": 0.2})
    with pytest.raises(ConfigError, match="no threshold for 'ar', only for en"):
        alone.labels(OUTPUTS, LANGUAGES)


def test_outputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="There are 1 languages for 4 texts"):
        decision().probabilities(OUTPUTS, ["en"])
    with pytest.raises(ConfigError, match="knows no categories"):
        decision().category_labels(Outputs(sarcastic=logit([0.5])), ["en"])
    with pytest.raises(ConfigError, match="no thresholds of categories"):
        decision(categories=None).category_labels(OUTPUTS, LANGUAGES)


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="no rule 'best'"):
        decision("best")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="of the same languages"):
        decision(thresholds={"en": 0.5})
    with pytest.raises(ConfigError, match="5 thresholds of categories"):
        decision(categories=(0.1,) * 5)
    with pytest.raises(ConfigError, match="out of range"):
        decision(shares={"en": 0.0, "ar": 0.5})
    with pytest.raises(ConfigError, match="out of range"):
        decision(thresholds={"en": float("nan"), "ar": 0.5})


def test_what_is_no_decision_is_refused() -> None:
    for read in (
        {},
        {"rule": "half"},
        {**decision().to_dict(), "rule": "none"},
        {**decision().to_dict(), "languages": 3},
        {**decision().to_dict(), "languages": {"en": {"calibration": {"slope": 1.0}, "threshold": 0.5, "share": 0.5}}},
        {**decision().to_dict(), "languages": {"en": {"calibration": STEPS, "threshold": 0.5, "share": 0.5}}},
        {**decision().to_dict(), "categories": [0.5]},
    ):
        with pytest.raises(DataError, match=r"decides by is damaged|These are no thresholds"):
            Decision.from_dict(read)
