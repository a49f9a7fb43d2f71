"""What is done against shortcuts of the collection, each a switch, and the two sets of switches that have a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from modicum.errors import ConfigError
from modicum.sarcasm.cleaning import Preparation
from modicum.sarcasm.examples import Example
from modicum.sarcasm.robust import length_matched, with_rephrases

Preset: TypeAlias = Literal["plain", "modicum"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Robustness:
    """What is done to texts."""

    preparation: Preparation = field(default_factory=Preparation)  # of every text, in training and in use
    match_lengths: bool = True  # crop training texts that are not sarcastic to the lengths of those that are
    rephrases: bool = True  # learn the author's plain wording as an example that is not sarcastic

    def train(self, examples: Sequence[Example], *, seed: int) -> list[Example]:
        """Give what a model is trained on, prepared, from the training part of a split as it was written."""
        shown = self._cropped(examples, seed)
        return self._with_dialects(with_rephrases(shown) if self.rephrases else shown)

    def choose(self, examples: Sequence[Example], *, seed: int) -> list[Example]:
        """Give what calibration and thresholds are chosen on, prepared, from the part that is held out as written."""
        # It has the lengths of the training part, since a threshold that was chosen with the shortcut is wrong without.
        return self._with_dialects(self._cropped(examples, seed))

    def _cropped(self, examples: Sequence[Example], seed: int) -> list[Example]:
        cleaned = [replace(self.preparation, dialect_prefix=False).example(it) for it in examples]
        return length_matched(cleaned, seed) if self.match_lengths else cleaned

    def _with_dialects(self, examples: Sequence[Example]) -> list[Example]:
        # Last: a crop would cut the dialect off texts that are not sarcastic, and its absence would tell them.
        return [replace(self.preparation, clean=False).example(it) for it in examples]


PRESETS: Mapping[Preset, Robustness] = {
    "plain": Robustness(
        preparation=Preparation(clean=False, dialect_prefix=False), match_lengths=False, rephrases=False
    ),
    "modicum": Robustness(),
}


def find_preset(name: str) -> Robustness:
    """Give the switches of a preset: "plain" has all off, "modicum" all on."""
    for known, robustness in PRESETS.items():
        if known == name:
            return robustness
    raise ConfigError(f"There is no preset {name!r}.", hint=f"Use one of: {', '.join(PRESETS)}.")
