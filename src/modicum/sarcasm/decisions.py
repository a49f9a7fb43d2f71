"""From the outputs of a model to probabilities and labels, by what was chosen on out-of-fold outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

import numpy as np
from scipy.special import expit, logit

from modicum.core.storage import parsed
from modicum.errors import ConfigError, DataError
from modicum.sarcasm.configuration import Rule
from modicum.sarcasm.data.examples import CATEGORIES, LANGUAGES, Example, Language
from modicum.sarcasm.models import Outputs

_FEW = 20  # positives below which the threshold of a category is drawn to the common one; ours


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """Probabilities sigmoid(logit / temperature + bias)."""

    temperature: float = 1.0
    bias: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0 and math.isfinite(self.bias)):
            raise ConfigError(
                f"The temperature is {self.temperature} and the bias {self.bias}.",
                hint="Both must be finite, and the temperature > 0.",
            )

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Give probabilities, the same shape."""
        return expit(logits / self.temperature + self.bias)


def calibrate(logits: np.ndarray, labels: np.ndarray) -> Scaling:
    """Choose temperature and bias by the likelihood of out-of-fold labels."""
    from scipy.optimize import minimize

    if set(np.unique(labels)) != {0, 1} or not np.isfinite(logits).all():
        raise DataError(
            f"A calibration needs finite logits and labels of both kinds, got labels {np.unique(labels).tolist()}.",
            hint="Give texts of each language that are sarcastic and others; of an encoder, a lower rate.",
        )
    signs = 1.0 - 2.0 * labels
    bound = math.log(100.0)

    def loss(parameters: np.ndarray) -> float:
        scale, shift = parameters
        return float(np.logaddexp(0.0, signs * (logits * math.exp(-scale) + shift)).mean())

    start = np.array([0.0, float(logit(labels.mean()))])
    limits = [(-bound, bound), (None, None)]
    found = minimize(loss, start, bounds=limits, method="L-BFGS-B", options={"ftol": 1e-14})
    return Scaling(temperature=math.exp(found.x[0]), bias=float(found.x[1]))


def best_threshold(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Give the threshold with the highest F1 of the positive class; of several such the highest."""
    cuts, hits, kept = _cuts(probabilities, labels)
    return float(cuts[np.argmax(2 * hits / (kept + labels.sum()))])


def expected_f1_threshold(probabilities: np.ndarray) -> float:
    """Give the threshold with the highest F1 to be expected, without a label."""
    cuts, hits, kept = _cuts(probabilities, probabilities)
    return float(cuts[np.argmax(2 * hits / (kept + probabilities.sum()))])


def top_share_threshold(probabilities: np.ndarray, share: float) -> float:
    """Give the threshold that a share of the texts at hand reaches."""
    count = round(share * len(probabilities)) if 0 < share < 1 else 0
    if not count:
        raise ConfigError(
            f"The highest {share:.1%} of {len(probabilities)} texts cannot be labelled.",
            hint='Label more texts at once, or use the rule "oof_f1" or "half".',
        )
    return float(np.sort(probabilities)[-count])


def guarded_thresholds(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, ...]:
    """Give the threshold of each label, drawn to the common one where there are few positives."""
    # t_k = w_k t*_k + (1 - w_k) t*, w_k = min(1, n_k / 20): t*_k is the best of the label, t* that of all labels as
    # one, n_k counts the label's positives. A label without a positive has t*.
    common = best_threshold(probabilities.ravel(), labels.ravel())
    thresholds: list[float] = []
    for column, wanted in zip(probabilities.T, labels.T, strict=True):
        weight = min(1.0, wanted.sum() / _FEW)
        own = best_threshold(column, wanted) if weight else 0.0
        thresholds.append(float(weight * own + (1 - weight) * common))
    return tuple(thresholds)


def _cuts(probabilities: np.ndarray, gains: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the distinct probabilities from the highest on, and the gains and the number of texts that reach each."""
    order = np.argsort(-probabilities, kind="stable")
    ordered = probabilities[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    return ordered[ends], np.cumsum(gains[order])[ends], ends + 1.0


def check_rule(rule: str) -> None:
    """Refuse a rule that is none."""
    if rule not in get_args(Rule):
        raise ConfigError(f"There is no rule {rule!r}.", hint=f"Use one of: {', '.join(get_args(Rule))}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """How outputs become probabilities and labels.

    Args:
        rule: "oof_f1" compares with `thresholds`, "half" with 1/2. Two look at the texts at hand, so that a label
            depends on what else is labelled: "top_share" labels the highest `shares` of each language; "prior_shift"
            corrects the probabilities for the share of sarcastic texts it finds, and takes the threshold with the
            highest F1 to be expected. That holds only where sarcastic texts, and the others, are written as in
            training: of the Arabic test texts 14 % are sarcastic, and it finds far more.
        calibrations: for each language.
        thresholds: for each language.
        shares: of sarcastic texts in training, for each language.
        categories: thresholds of the six categories, in the order of `CATEGORIES`; None if they are not known.

    Raises:
        ConfigError: if there is no such rule, or the parts are not of the same languages, or a number is out of range.
    """

    rule: Rule = "oof_f1"
    calibrations: Mapping[Language, Scaling]
    thresholds: Mapping[Language, float]
    shares: Mapping[Language, float]
    categories: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_rule(self.rule)
        if not set(self.calibrations) == set(self.thresholds) == set(self.shares) <= set(LANGUAGES):
            raise ConfigError(
                "Calibrations, thresholds and shares must be of the same languages.",
                hint=f"Give one of each for some of {', '.join(LANGUAGES)}.",
            )
        if self.categories is not None and len(self.categories) != len(CATEGORIES):
            raise ConfigError(
                f"There are {len(self.categories)} thresholds of categories.", hint=f"Give {len(CATEGORIES)}."
            )
        numbers = (*self.thresholds.values(), *self.shares.values(), *(self.categories or ()))
        if not all(0 <= it <= 1 for it in numbers) or not all(0 < it < 1 for it in self.shares.values()):
            raise ConfigError(
                f"Thresholds or shares are out of range: {', '.join(map(str, numbers))}.",
                hint="Thresholds are probabilities, and a share is between 0 and 1.",
            )

    def probabilities(self, outputs: Outputs, languages: Sequence[Language]) -> np.ndarray:
        """Give calibrated probabilities of "sarcastic", corrected where the rule is "prior_shift".

        Args:
            outputs: of n texts.
            languages: of each.

        Returns:
            Shape (n,).

        Raises:
            ConfigError: if there is no threshold for a language.
            DataError: if there is not one language for each text.
        """
        return self._each(outputs, languages, self._calibrated)

    def labels(self, outputs: Outputs, languages: Sequence[Language]) -> np.ndarray:
        """Give labels of "sarcastic".

        Args:
            outputs: of n texts.
            languages: of each.

        Returns:
            0 or 1, shape (n,).

        Raises:
            ConfigError: if there is no threshold for a language, or too few texts for the rule "top_share".
            DataError: if there is not one language for each text.
        """
        return self._each(outputs, languages, self._labelled).astype(np.int64)

    def threshold(self, language: Language) -> float | None:
        """Give the probability from which on a text is called sarcastic, where the rule has one: seldom 0.5."""
        if self.rule == "oof_f1":  # a few strays are read as the only language that was trained
            return self.thresholds.get(language, max(self.thresholds.values()))
        return 0.5 if self.rule == "half" else None

    def category_probabilities(self, outputs: Outputs, languages: Sequence[Language]) -> np.ndarray:
        """Give P(k) = P(sarcastic) P(k | sarcastic).

        Args:
            outputs: of n texts.
            languages: of each.

        Returns:
            Shape (n, 6), in the order of `CATEGORIES`.

        Raises:
            ConfigError: if the model knows no categories, or there is no threshold for a language.
            DataError: if there is not one language for each text.
        """
        if outputs.categories is None:
            raise ConfigError("The model knows no categories.", hint="Fit it on texts whose categories are known.")
        return self.probabilities(outputs, languages)[:, None] * expit(outputs.categories)

    def category_labels(self, outputs: Outputs, languages: Sequence[Language]) -> np.ndarray:
        """Give labels of the categories.

        Args:
            outputs: of n texts.
            languages: of each.

        Returns:
            0 or 1, shape (n, 6), in the order of `CATEGORIES`.

        Raises:
            ConfigError: if there are no thresholds of categories, or none for a language.
            DataError: if there is not one language for each text.
        """
        if self.categories is None:
            raise ConfigError("There are no thresholds of categories.", hint="Fit on texts whose categories are known.")
        return (self.category_probabilities(outputs, languages) >= np.array(self.categories)).astype(np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Give what `from_dict` reads, and JSON can hold."""
        return {
            "rule": self.rule,
            "languages": {
                language: {
                    "calibration": asdict(self.calibrations[language]),
                    "threshold": self.thresholds[language],
                    "share": self.shares[language],
                }
                for language in self.thresholds
            },
            "categories": None if self.categories is None else list(self.categories),
        }

    @classmethod
    def from_dict(cls, read: Mapping[str, Any]) -> Decision:
        """Read what `to_dict` gave.

        Raises:
            DataError: if it is not that.
        """
        found = parsed(read, _Written, source="What a system decides by", hint="Write it with to_dict().")
        each = found.languages
        try:
            return cls(
                rule=found.rule,
                calibrations={name: it.calibration for name, it in each.items()},
                thresholds={name: it.threshold for name, it in each.items()},
                shares={name: it.share for name, it in each.items()},
                categories=found.categories,
            )
        except ConfigError as error:
            raise DataError(f"These are no thresholds ({error.what}).", hint="Write them with to_dict().") from error

    def _each(
        self, outputs: Outputs, languages: Sequence[Language], give: Callable[[np.ndarray, Language], np.ndarray]
    ) -> np.ndarray:
        if len(languages) != len(outputs.sarcastic):
            raise DataError(
                f"There are {len(languages)} languages for {len(outputs.sarcastic)} texts.",
                hint="Give the language of each text.",
            )
        given = np.empty(len(languages))
        for language in dict.fromkeys(languages):
            if language not in self.thresholds:
                raise ConfigError(
                    f"There is no threshold for {language!r}, only for {', '.join(self.thresholds) or 'nothing'}.",
                    hint="Train on texts of that language, too, or name the language of all texts by --language.",
                )
            chosen = np.array([it == language for it in languages])
            given[chosen] = give(outputs.sarcastic[chosen], language)
        return given

    def _calibrated(self, logits: np.ndarray, language: Language) -> np.ndarray:
        probabilities = self.calibrations[language](logits)
        if self.rule != "prior_shift":
            return probabilities
        import torch

        from modicum.sarcasm.functional import prior_shift

        corrected, _ = prior_shift(torch.from_numpy(probabilities), self.shares[language])
        return corrected.numpy()

    def _labelled(self, logits: np.ndarray, language: Language) -> np.ndarray:
        probabilities = self._calibrated(logits, language)
        match self.rule:
            case "oof_f1":
                threshold = self.thresholds[language]
            case "half":
                threshold = 0.5
            case "top_share":
                threshold = top_share_threshold(probabilities, self.shares[language])
            case "prior_shift":
                threshold = expected_f1_threshold(probabilities)
        return probabilities >= threshold


@dataclass(frozen=True, kw_only=True, slots=True)
class _Each:
    calibration: Scaling
    threshold: float
    share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Written:
    rule: Rule
    languages: dict[Language, _Each]
    categories: tuple[float, ...] | None


def decide(
    outputs: Outputs, examples: Sequence[Example], *, entire: np.ndarray | None = None, rule: Rule = "oof_f1"
) -> Decision:
    """Choose calibration and thresholds of each language from out-of-fold outputs of labelled examples."""
    # Thresholds are chosen on texts as the training part has them, which may be cropped; probabilities are those of
    # entire texts, which are read in use and whose logits of "sarcastic" may be others.
    entire = outputs.sarcastic if entire is None else entire
    calibrations: dict[Language, Scaling] = {}
    thresholds: dict[Language, float] = {}
    shares: dict[Language, float] = {}
    for language in LANGUAGES:
        chosen = [row for row, it in enumerate(examples) if it.language == language]
        if chosen:
            logits, labels = outputs.sarcastic[chosen], np.array([examples[row].sarcastic for row in chosen], float)
            calibrations[language] = calibrate(entire[chosen], labels)
            thresholds[language] = best_threshold(calibrations[language](logits), labels)
            shares[language] = float(labels.mean())
    plain = Decision(rule=rule, calibrations=calibrations, thresholds=thresholds, shares=shares)
    return replace(plain, categories=_category_thresholds(plain, outputs, examples))


def _category_thresholds(decision: Decision, outputs: Outputs, examples: Sequence[Example]) -> tuple[float, ...] | None:
    chosen = [row for row, it in enumerate(examples) if it.categories is not None]
    labels = np.array([examples[row].categories for row in chosen], float)
    if outputs.categories is None or not labels.any():
        return None
    probabilities = decision.category_probabilities(outputs, [it.language for it in examples])
    return guarded_thresholds(probabilities[chosen], labels)
