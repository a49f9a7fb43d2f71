"""Models of different kinds as one: the sum of their logits, weighted for each language."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from modicum.core.files import new_folder
from modicum.core.safeload import read_json
from modicum.core.storage import parsed
from modicum.errors import ConfigError, DataError
from modicum.sarcasm.data.examples import LANGUAGES, Example, Language
from modicum.sarcasm.data.preparation import language_of_prepared
from modicum.sarcasm.models import Outputs, TextModel, compare_texts

DESCRIPTION = "stack.json"
_HINT = "Give a folder that save_pretrained or `modicum sarcasm train` wrote, complete."


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """How much the logit of each model counts."""

    sarcastic: tuple[float, ...]  # of the first head, one for each model
    rank: tuple[float, ...] | None = None  # of the comparison of two texts, likewise


@dataclass(frozen=True, kw_only=True, slots=True)
class StackedModel:
    """Several models that read the same texts; a `TextModel` and a `PairModel`."""

    # The language of a text is told by its script, since a model is given texts alone. Categories are the mean of those
    # models that know some.

    members: tuple[TextModel, ...]  # fitted on texts that were prepared alike
    weights: Mapping[Language, Weights]  # for each language; a text in another one is read with those of the first

    def __post_init__(self) -> None:
        given = [it for one in self.weights.values() for it in (one.sarcastic, one.rank) if it is not None]
        if not self.members or not given or any(len(it) != len(self.members) for it in given):
            raise ConfigError(
                f"There are {len(self.members)} models, and weights {given}.", hint="Give a weight for each model."
            )

    def __call__(self, texts: Sequence[str]) -> Outputs:
        """Give the outputs, in the order of the texts and independent of what else is asked for."""
        found = [member(texts) for member in self.members]
        weights = [self.weights_of(text) for text in texts]
        ranks = [it.rank for it in found if it.rank is not None] if self._ranks else []
        return Outputs(
            sarcastic=_weighted([it.sarcastic for it in found], [it.sarcastic for it in weights]),
            categories=mean_categories(found),
            rank=_weighted(ranks, [it.rank for it in weights]) if len(ranks) == len(found) else None,
        )

    def compare(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """Give the weighted sum of what the models give; exchanging the texts of a pair changes the sign."""
        if not self._ranks:
            raise ConfigError("The models cannot compare texts.", hint="Fit them on examples that have a rephrase.")
        logits = [compare_texts(member, pairs) for member in self.members]
        return _weighted(logits, [self.weights_of(*pair).rank for pair in pairs])

    def weights_of(self, *texts: str) -> Weights:
        """Give the weights with which a text, or a pair of texts, is read."""
        found = {language_of_prepared(text) for text in texts}
        language: Language = "ar" if "ar" in found else "en"
        return self.weights.get(language) or next(iter(self.weights.values()))

    def save(self, folder: Path) -> None:
        """Write each model to a folder of its own, "0", "1" and so on, and the weights as JSON, below a new folder."""
        with new_folder(folder) as part:
            for number, member in enumerate(self.members):
                member.save(part / str(number))
            document = {language: asdict(it) for language, it in self.weights.items()}
            (part / DESCRIPTION).write_text(json.dumps(document, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, *, load: Callable[[Path], TextModel]) -> StackedModel:
        """Read what `save` wrote."""
        path = folder / DESCRIPTION
        weights = parsed(read_json(path, hint=_HINT), dict[Language, Weights], source=path, hint=_HINT)
        count = max((len(it.sarcastic) for it in weights.values()), default=0)
        try:
            return cls(members=tuple(load(folder / str(number)) for number in range(count)), weights=weights)
        except ConfigError as error:
            raise DataError(f"{folder / DESCRIPTION} does not fit: {error.what}", hint=_HINT) from error

    @property
    def _ranks(self) -> bool:
        return all(it.rank is not None for it in self.weights.values())


def stack_weights(columns: np.ndarray, margins: np.ndarray | None, held: Sequence[Example]) -> dict[Language, Weights]:
    """Choose the weights of each language by logistic regression on what held-out texts and pairs were given."""
    # Each language has its own: what an English encoder says of an Arabic text counts less than what it says of an
    # English one. A language without pairs takes the weights of all pairs.
    from sklearn.linear_model import LogisticRegression

    labels, languages = np.array([it.sarcastic for it in held]), np.array([it.language for it in held])
    known = None if margins is None else ~np.isnan(margins).any(axis=1)
    weights: dict[Language, Weights] = {}
    for language in LANGUAGES:
        chosen, rank = languages == language, None
        if not chosen.any():
            continue
        fitted = LogisticRegression(class_weight="balanced").fit(columns[chosen], labels[chosen])
        if margins is not None and known is not None:
            rank = rank_weights(margins[known & chosen] if (known & chosen).any() else margins[known])
        weights[language] = Weights(sarcastic=tuple(fitted.coef_[0].tolist()), rank=rank)
    return weights


def rank_weights(margins: np.ndarray) -> tuple[float, ...]:
    """Choose the weights of models that compare two texts from margins, shape (n, models), that are positive if right.

    Models are joined by logistic regression only if that is right on more pairs than the best of them alone, by more
    than one standard error of the paired difference; else the best alone counts.
    """
    from scipy.stats import sem
    from sklearn.linear_model import LogisticRegression

    def fitted(columns: np.ndarray) -> np.ndarray:
        both, second = np.concatenate([columns, -columns]), np.repeat([1, 0], len(columns))
        return LogisticRegression(fit_intercept=False).fit(both, second).coef_[0]

    alone = np.diag([fitted(margins[:, [place]])[0] for place in range(margins.shape[1])])
    right = margins @ alone > 0
    best = right.mean(axis=0).argmax()
    joined = fitted(margins)
    gain = (margins @ joined > 0).astype(float) - right[:, best]
    worth = len(gain) > 1 and gain.mean() > sem(gain)
    return tuple((joined if worth else alone[best]).tolist())


def mean_categories(outputs: Sequence[Outputs]) -> np.ndarray | None:
    """Give the mean logits of the categories, shape (n, 6), of those outputs that have some; None if none has."""
    known = [it.categories for it in outputs if it.categories is not None]
    return np.mean(known, axis=0) if known else None


def _weighted(logits: Sequence[np.ndarray], weights: Sequence[tuple[float, ...] | None]) -> np.ndarray:
    if not weights:  # no text was given
        return np.zeros(0)
    return (np.stack(logits, axis=1) * np.array(weights)).sum(axis=1)
