"""How good generated texts are, with the copied source beside them."""

from __future__ import annotations

from collections.abc import Sequence

from modicum.core.extras import require
from modicum.errors import ConfigError, DataError


def score_texts(
    candidates: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    sources: Sequence[str],
    *,
    bleu: bool = True,
) -> dict[str, float]:
    """Score texts against their references, and the copied source beside them, which is a strong baseline.

    Args:
        candidates: for each source at least one; the first is what is scored, all of them go into the oracle.
        references: for each source at least one; the nearest counts.
        sources: texts.
        bleu: also compute BLEU by sacrebleu, with its defaults.

    Returns:
        "error_rate", edits as a share of the words of the references (which stand between spaces, so that they are
        phonemes in a pronunciation), and "wrong", the share of texts that are no reference; both again with "oracle_"
        for the best candidate and with "copied_" for the source; "bleu", in [0, 100], and "copied_bleu".

    Raises:
        ConfigError: if there are no sources, or one lacks candidates or references.
        DataError: if a reference has no words.
        MissingExtraError: if torchmetrics or sacrebleu is not installed.

    Example:
        >>> scores = score_texts([["K AE T", "K AH T"]], [["K AH T"]], ["c u t"], bleu=False)
        >>> scores["error_rate"] == 1 / 3, scores["oracle_error_rate"], scores["copied_wrong"]
        (True, 0.0, 1.0)
    """
    if not len(candidates) == len(references) == len(sources) > 0 or not all((*candidates, *references)):
        raise ConfigError(
            f"There are candidates for {len(candidates)} and references for {len(references)} of {len(sources)} "
            "sources, and each needs at least one.",
            hint="Give one list of each for every source.",
        )
    first, copied = [[texts[0]] for texts in candidates], [[source] for source in sources]
    scores: dict[str, float] = {}
    for name, texts in (("", first), ("oracle_", candidates), ("copied_", copied)):
        found = edits(texts, references)
        scores[f"{name}error_rate"] = sum(each for each, _ in found) / sum(words for _, words in found)
        scores[f"{name}wrong"] = sum(each > 0 for each, _ in found) / len(found)
    if bleu:
        scores |= {"bleu": _bleu(first, references), "copied_bleu": _bleu(copied, references)}
    return scores


def edits(candidates: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """Give the edits of the best candidate for each source to its nearest reference, and the words of that."""
    text = require("torchmetrics.functional.text", extra="text", purpose="The error rate")
    least: list[tuple[int, int]] = []
    for row, (texts, wanted) in enumerate(zip(candidates, references, strict=True)):
        lengths = {reference: len(reference.split()) for reference in wanted}
        if not all(lengths.values()):
            raise DataError(f"A reference of source {row} is empty.", hint="Drop it, or write its text.")
        found = [
            (round(float(text.word_error_rate([candidate], [reference])) * length), length)
            for candidate in dict.fromkeys(texts)
            for reference, length in lengths.items()
        ]
        least.append(min(found, key=lambda pair: pair[0] / pair[1]))
    return least


def _bleu(candidates: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> float:
    sacrebleu = require("sacrebleu", extra="text", purpose="BLEU")
    most = max(map(len, references))  # sacrebleu wants as many of each; None stands for none
    columns = [[wanted[place] if place < len(wanted) else None for wanted in references] for place in range(most)]
    return sacrebleu.corpus_bleu([texts[0] for texts in candidates], columns).score
