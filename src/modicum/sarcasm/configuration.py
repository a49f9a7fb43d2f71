"""What is fitted, and how: the settings of the estimators, of the commands and of the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from annotated_types import Ge, Gt

from modicum.core.method import Budget
from modicum.core.settings import Help
from modicum.errors import ConfigError

Pooling: TypeAlias = Literal["cls", "mean"]
Rule: TypeAlias = Literal["oof_f1", "half", "top_share", "prior_shift"]

NGRAMS = "ngrams"
FROZEN = "frozen:"
TINY = "tiny"
AUTO = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderSettings:
    """How an encoder is fine-tuned."""

    epochs: Annotated[int, Help("passes over the training texts"), Ge(1)] = 5
    batch: Annotated[int, Help("texts an update"), Ge(1)] = 32
    rate: Annotated[float, Help("largest learning rate of AdamW"), Gt(0)] = 2e-5
    pooling: Annotated[Pooling, Help("what the heads see")] = "cls"

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch) < 1 or not self.rate > 0:
            raise ConfigError(
                f"epochs is {self.epochs}, batch {self.batch}, rate {self.rate}.",
                hint="Give at least 1 epoch and 1 text a batch, and a rate above 0.",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings(EncoderSettings):
    """What is fitted, and how.

    Args:
        model: "ngrams" for logistic regressions on character n-grams; else an encoder that is fine-tuned: a hub id, a
            folder, or "offline" for the packaged MiniLM (English). "ngrams+ENCODER" is both, each with its weights;
            "frozen:ENCODER" is logistic regressions on an encoder as it is.
        preset: "plain" where use resembles training, or "modicum" against shortcuts, where it does not. "auto" is the
            better one on held-out texts, or "modicum" where `fit` is given texts that are unlike those of training.
        rule: of labels; see `Decision`.
        folds: each fold of an encoder is a model of the ensemble; 1 trains one and holds a fifth out.
        seed: of all that is drawn.
        epochs: of fine-tuning.
        batch: texts an update.
        rate: largest learning rate.
        pooling: "cls" or "mean".
        device: "cpu" or "cuda".
    """

    model: str = NGRAMS
    preset: str = AUTO
    rule: Rule = "oof_f1"
    folds: int = 5
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonSettings(EncoderSettings):
    """What ``modicum compare xpudu`` can change."""

    model: Annotated[
        str, Help("hub id or folder of an encoder, offline for the packaged MiniLM (English), tiny for a new one")
    ]
    folds: Annotated[
        int,
        Help("models of an ensemble; 1 trains one and holds a fifth of the texts out for calibration"),
        Ge(1),
    ] = 1
    rule: Annotated[Rule, Help("of labels")] = "oof_f1"


COMPARISON: Mapping[Budget, ComparisonSettings] = {
    "demo": ComparisonSettings(model=TINY, pooling="mean", epochs=8, batch=16, rate=1e-3),
    "full": ComparisonSettings(model="offline", pooling="mean", epochs=3, batch=32, rate=5e-5),
}
