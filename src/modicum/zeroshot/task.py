"""What is asked: labels, the words that stand for them, and the sentences that they are asked in."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from modicum.core.extras import require
from modicum.core.tables import read_text
from modicum.errors import ConfigError, DataError

_COSINE = ("This example is {label}.",)
_MASKED = ("{text} It was {mask}.",)
_SLOT, _WORD = re.compile(r"\{(\w*)\}"), re.compile(r"\w+")


@dataclass(frozen=True)
class Task:
    """A classification task in words.

    Args:
        labels: two or more.
        verbalizer: for each label the words that stand for it in raw text, the best one first; by default the label
            itself. A word may be several words, such as "real estate".
        templates: with "{label}" for cosine scores, or with "{text}" and "{mask}" for masked and sequence-to-sequence
            models; a kind that is missing has a default.

    Raises:
        ConfigError: if there are fewer than two labels, one occurs twice, a label has no word, two labels share one, or
            a template has other slots.

    Example:
        >>> task = Task(["negative", "positive"], {"negative": ["terrible"], "positive": ["great"]})
        >>> task.verbalizer["positive"]
        ('great',)
    """

    labels: Sequence[str]
    verbalizer: Mapping[str, Sequence[str]] = field(default_factory=dict)
    templates: Sequence[str] = ()

    def __post_init__(self) -> None:
        labels = tuple(_texts(self.labels, "labels"))
        if len(set(labels)) < max(2, len(labels)):
            raise ConfigError(
                f"Two labels or more that differ were expected, got {', '.join(map(repr, labels)) or 'none'}.",
                hint="A task chooses between labels; for one label, add what all else is called.",
            )
        if other := next((name for name in self.verbalizer if name not in labels), None):
            near = difflib.get_close_matches(str(other), labels, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"The labels are {', '.join(labels)}."
            raise ConfigError(f"The verbalizer has {other!r}, which is no label.", hint=hint)
        words = {label: self._words_of(label) for label in labels}
        owner: dict[str, str] = {}
        for label in labels:
            for word in words[label]:
                found = " ".join(words_of(word)) or word  # as raw text is searched: c++ is c
                if owner.setdefault(found, label) != label:
                    raise ConfigError(
                        f"The labels {owner[found]!r} and {label!r} share the word {found!r}.",
                        hint="Give each word to one label: a sentence with it must have one class.",
                    )
        templates = tuple(_texts(self.templates, "templates"))
        for template in templates:
            if sorted(_SLOT.findall(template)) not in (["label"], ["mask", "text"]):
                raise ConfigError(
                    f"The template {template!r} has other slots than {{label}}, or {{text}} and {{mask}}.",
                    hint=f"Write one such as {_COSINE[0]!r} or {_MASKED[0]!r}.",
                )
        for name, value in (("labels", labels), ("verbalizer", words), ("templates", templates)):
            object.__setattr__(self, name, value)

    @classmethod
    def from_yaml(cls, source: Path | str) -> Task:
        """Read a task from a YAML file.

        Args:
            source: a file with labels, and if wanted verbalizer and templates, as the arguments of `Task`.

        Returns:
            The task.

        Raises:
            DataError: if it is no YAML, or has other entries.
            ConfigError: if it is no task, see above.
        """
        yaml = require("yaml", extra="text", purpose="A task in a file")
        hint = "Write labels: [a, b], verbalizer: {a: [word], b: [word]} and templates: ['This is {label}.']."
        text = read_text(source)
        try:
            _check_once(yaml.compose(text, Loader=yaml.SafeLoader), source)
            read: Any = yaml.safe_load(text)
        except yaml.YAMLError as error:
            place = getattr(error, "problem_mark", None)
            line = "" if place is None else f", line {place.line + 1}"
            reason = getattr(error, "problem", None) or " ".join(str(error).split())
            raise DataError(f"{source}{line} is no YAML ({reason}).", hint=hint) from error
        known = {each.name for each in fields(cls)}
        if not isinstance(read, dict) or "labels" not in read or set(read) - known:
            other = sorted(map(str, set(read) - known)) if isinstance(read, dict) else []
            what = f"an entry {other[0]!r}" if other else "no entry 'labels'"
            raise DataError(f"{source} is no task: it has {what}.", hint=hint)
        try:
            return cls(**{name: value for name, value in read.items() if value is not None})
        except ConfigError as error:
            raise ConfigError(f"{source}: {error.what}", hint=error.hint) from error

    @property
    def cosine_templates(self) -> tuple[str, ...]:
        """The templates with a slot for the label."""
        return tuple(template for template in self.templates if "{label}" in template) or _COSINE

    @property
    def mask_templates(self) -> tuple[str, ...]:
        """The templates with slots for the text and the mask."""
        return tuple(template for template in self.templates if "{mask}" in template) or _MASKED

    def as_json(self) -> dict[str, Any]:
        """Give the task as JSON has it, and as the arguments of `Task`."""
        words = {label: list(words) for label, words in self.verbalizer.items()}
        return {"labels": list(self.labels), "verbalizer": words, "templates": list(self.templates)}

    def _words_of(self, label: str) -> tuple[str, ...]:
        given = self.verbalizer.get(label, (label,))
        every = _texts(given, f"The words of {label!r}")
        words = (" ".join(unicodedata.normalize("NFC", word).lower().split()) for word in every)
        found = tuple(dict.fromkeys(filter(None, words)))
        if not found:
            raise ConfigError(f"The label {label!r} has no word.", hint="Give it one that raw text would use for it.")
        return found


def _check_once(node: Any, source: Path | str) -> None:
    """Refuse a key that stands twice in a mapping, of which the last would count."""
    for key, value in getattr(node, "value", ()) if getattr(node, "id", "") == "mapping" else ():
        if sum(key.value == other.value for other, _ in node.value) > 1:
            line = key.start_mark.line + 1
            raise DataError(f"{source}, line {line} has {key.value!r} twice.", hint="Leave one of them out.")
        _check_once(value, source)


def words_of(text: str) -> list[str]:
    """Give the words of a text: runs of letters and digits in lower case, a letter with its accent as one character."""
    return _WORD.findall(unicodedata.normalize("NFC", text).lower())


def _texts(given: Any, what: str) -> Sequence[str]:
    found: list[Any] = [None] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    if not all(isinstance(each, str) for each in found):
        raise ConfigError(
            f"{what} must be a list of texts, got {given!r}.",
            hint='Write ["...", "..."]; in YAML yes, no and numbers, too, stand in quotation marks.',
        )
    return found
