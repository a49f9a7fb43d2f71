"""How good generated texts are, with the copied source beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modicum.core.extras import require
from modicum.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorRates:
    """Edit distances in words between spaces: phonemes for pronunciations.

    Args:
        rate: edits, as a share of the words of the references.
        wrong: share of texts that are not a reference.
    """

    rate: float
    wrong: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """What `score_texts` finds.

    Args:
        errors: of the first candidate of each source.
        oracle: of the best candidate of each source.
        copied: of the sources themselves.
        bleu: of the first candidates, in [0, 100]; None if it was not asked for.
        copied_bleu: of the sources.
    """

    errors: ErrorRates
    oracle: ErrorRates
    copied: ErrorRates
    bleu: float | None
    copied_bleu: float | None


def score_texts(
    candidates: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    sources: Sequence[str],
    *,
    bleu: bool = True,
) -> Scores:
    """Score texts against their references, and the copied source beside them, which is a strong baseline.

    Args:
        candidates: for each source at least one; the first is what is scored, all of them go into the oracle.
        references: for each source at least one; the nearest counts.
        sources: texts.
        bleu: also compute BLEU by sacrebleu, with its defaults.

    Returns:
        The scores.

    Raises:
        ConfigError: if there are no sources, or one lacks candidates or references.
        MissingExtraError: if torchmetrics or sacrebleu is not installed.

    Example:
        >>> scores = score_texts([["K AE T", "K AH T"]], [["K AH T"]], ["c u t"], bleu=False)
        >>> scores.errors.rate == 1 / 3, scores.oracle.rate, scores.copied.wrong
        (True, 0.0, 1.0)
    """
    if not len(candidates) == len(references) == len(sources) > 0 or not all((*candidates, *references)):
        raise ConfigError(
            f"There are candidates for {len(candidates)} and references for {len(references)} of {len(sources)} "
            "sources, and each needs at least one.",
            hint="Give one list of each for every source.",
        )
    first, copied = [[texts[0]] for texts in candidates], [[source] for source in sources]
    return Scores(
        errors=_errors(first, references),
        oracle=_errors(candidates, references),
        copied=_errors(copied, references),
        bleu=_bleu(first, references) if bleu else None,
        copied_bleu=_bleu(copied, references) if bleu else None,
    )


def _errors(candidates: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> ErrorRates:
    text = require("torchmetrics.functional.text", extra="text", purpose="The error rate")
    edits = words = wrong = 0
    for texts, wanted in zip(candidates, references, strict=True):
        lengths = {reference: max(1, len(reference.split())) for reference in wanted}
        found = [
            (round(float(text.word_error_rate([candidate], [reference])) * length), length)
            for candidate in dict.fromkeys(texts)
            for reference, length in lengths.items()
        ]
        least, length = min(found, key=lambda pair: pair[0] / pair[1])
        edits, words, wrong = edits + least, words + length, wrong + (least > 0)
    return ErrorRates(rate=edits / words, wrong=wrong / len(candidates))


def _bleu(candidates: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> float:
    sacrebleu = require("sacrebleu", extra="text", purpose="BLEU")
    most = max(map(len, references))  # sacrebleu wants as many of each; None stands for none
    columns = [[wanted[place] if place < len(wanted) else None for wanted in references] for place in range(most)]
    return sacrebleu.corpus_bleu([texts[0] for texts in candidates], columns).score
