"""The pickles of MMSA, MulT and MultiBench: padded arrays of MOSI, MOSEI and SIMS, aligned to words or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from modicum.errors import DataError
from modicum.fusion.readers.common import (
    Reading,
    Say,
    entries,
    finished,
    frames,
    group_of,
    names_of,
    rows_of,
    scores,
    splits_in,
    text_of,
)
from modicum.fusion.recordings import IntArray, Ragged, Recordings

_KEYS = {"text": "text", "audio": "audio", "video": "vision"}
_LABELS = "regression_labels"


def parse_mmsa(content: object, where: object, how: Reading) -> dict[str, Recordings]:
    """Read a pickle of MMSA."""
    # The words are those of ``raw_text``. The length of a text is that of the mask in ``text_bert``, since the features
    # of BERT at its padding need not be zero. Those of audio and video are ``audio_lengths`` and ``vision_lengths``;
    # where the file has none they end, or begin if the file is padded at the front, with the frames that are not zero.
    # In an aligned file (as many frames in all streams) the padding that all streams of a sample share is taken off,
    # and frames stay with their word. A stream that is zero throughout in a sample is absent there.
    splits = splits_in(content, where, how.say)
    return {name: _mmsa(part, f"{where}, {name}", how) for name, part in splits.items()}


def _mmsa(part: object, where: str, how: Reading) -> Recordings:
    table = entries(part, ["id"], where)
    names = tuple(name for name, key in _KEYS.items() if key in table)
    if not names:
        raise DataError(f"{where} has none of {', '.join(_KEYS.values())}.", hint="Check the format.")
    if lost := [key for key in _KEYS.values() if key not in table]:
        how.say(f"{where} has no {' and no '.join(lost)}.")
    if _LABELS not in table:
        how.say(f"{where} has no {_LABELS}: its samples have no labels.")
    mask = _mask(table["text_bert"], f"{where}, text_bert") if "text_bert" in table and "text" in names else None
    streams = _streams(table, names, where, how.say, mask=mask)
    ids = names_of(table["id"], f"{where}, id")
    if all(group_of(name) == name for name in ids):
        how.say(f"{where}: no id says a video, such as video$_$3: each sample is a group of its own.")
    texts = rows_of(table["raw_text"], f"{where}, raw_text") if "raw_text" in table else None
    return finished(
        where,
        how.say,
        ids=ids,
        streams=streams,
        words=None if texts is None else tuple(tuple(text_of(text).split()) for text in texts),
        labels=scores(table[_LABELS], f"{where}, {_LABELS}", ids, how) if _LABELS in table else None,
        groups=tuple(map(group_of, ids)),
    )


def _mask(value: object, where: str) -> IntArray:
    pieces = frames(value, 3, where)  # float in some files; float32 is exact up to 16 million, beyond every vocabulary
    integers = np.isfinite(pieces).all() and bool((pieces == np.round(pieces)).all())
    if pieces.shape[1] != 3 or not integers:
        raise DataError(
            f"{where}, has the shape {pieces.shape}{'' if integers else ' and values that are not integers'}.",
            hint="Give ids, mask and segments: shape (samples, 3, pieces).",
        )
    return pieces[:, 1].astype(np.int64)


def parse_mult(content: object, where: object, how: Reading) -> dict[str, Recordings]:
    """Read a pickle of MulT or MultiBench, padded as a rule at the front."""
    splits = splits_in(content, where, how.say)
    return {name: _mult(part, f"{where}, {name}", how) for name, part in splits.items()}


def _mult(part: object, where: str, how: Reading) -> Recordings:
    table = entries(part, [*_KEYS.values(), "labels"], where)
    labels = scores(table["labels"], f"{where}, labels", (), how)
    names = rows_of(table.get("id", [f"{row}" for row in range(len(labels))]), f"{where}, id")
    videos = names_of([np.ravel(np.asarray(name, dtype=object))[:1] for name in names], f"{where}, id")
    return finished(
        where,
        how.say,
        ids=names_of(names, f"{where}, id"),
        streams=_streams(table, tuple(_KEYS), where, how.say),
        labels=labels,
        groups=tuple(map(group_of, videos)) if "id" in table else (),
    )


def _streams(
    table: Mapping[str, object], names: Sequence[str], where: str, say: Say, *, mask: IntArray | None = None
) -> dict[str, Ragged]:
    """Take the streams out of their padded arrays."""
    arrays = {name: frames(table[_KEYS[name]], 3, f"{where}, {_KEYS[name]}") for name in names}
    if len({len(array) for array in arrays.values()}) != 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        hint = "Give each sample all."
        raise DataError(f"{where} has different numbers of samples in its streams: {shapes}.", hint=hint)
    found = {name: _spans(array) for name, array in arrays.items()}
    if mask is not None:
        if arrays["text"].shape[:2] != mask.shape:
            raise DataError(
                f"{where}: text has the shape {arrays['text'].shape}, and text_bert a mask of {mask.shape}.",
                hint="Give both for the same samples and word pieces.",
            )
        found["text"] = _spans(mask[:, :, None])
    aligned = len({array.shape[1] for array in arrays.values()}) == 1
    spans: dict[str, IntArray] = {}
    for group in [tuple(names)] if aligned else [(name,) for name in names]:
        size, lengths = arrays[group[0]].shape[1], table.get(f"{_KEYS[group[0]]}_lengths")
        together, side = _common_spans({name: found[name] for name in group}, size)
        padding = f"padding at the {side}" if side else "no padding"
        say(f"{where}: {', '.join(group)} {'are aligned and have' if aligned else 'has'} {padding}.")
        if isinstance(lengths, list | tuple) and all(length is None for length in lengths):
            lengths = None
        if lengths is not None and not aligned:
            together = {group[0]: _spans_of_lengths(found[group[0]], size, lengths, f"{where}, {group[0]}")}
        spans |= together
    return {name: _unpadded(arrays[name], spans[name]) for name in names}


def _spans(values: npt.NDArray[np.generic]) -> IntArray:
    """Find the frames between the first and the last that is not zero throughout."""
    filled = (values != 0).any(axis=2)
    first = filled.argmax(axis=1)
    end = filled.shape[1] - filled[:, ::-1].argmax(axis=1)
    return np.where(filled.any(axis=1)[:, None], np.stack([first, end], axis=1), 0).astype(np.int64)


def _padding_side(found: IntArray, size: int) -> str:
    """Tell on which side of its samples an array of ``size`` frames is padded: the one with more zeros in all."""
    filled = found[found[:, 1] > 0]
    front, back = int(filled[:, 0].sum()), int((size - filled[:, 1]).sum())
    return "front" if front > back else "back" if back else ""


def _spans_of_lengths(found: IntArray, size: int, given: object, where: str) -> IntArray:
    try:
        lengths = np.asarray(given, dtype=np.int64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        hint = "Give one for each sample."
        raise DataError(f"The lengths of {where} are no integers ({error}).", hint=hint) from error
    if len(lengths) != len(found):
        raise DataError(f"{where} has {len(found)} samples and {len(lengths)} lengths.", hint="Give one for each.")
    wrong = np.flatnonzero((lengths < 0) | (lengths > size))
    if len(wrong):
        raise DataError(
            f"{where}, row {wrong[0]}, has {lengths[wrong[0]]} frames by its length, and room for {size}.",
            hint="Correct the length.",
        )
    begin = size - lengths if _padding_side(found, size) == "front" else np.zeros_like(lengths)
    return np.where(found[:, 1:] > 0, np.stack([begin, begin + lengths], axis=1), 0)


def _common_spans(found: dict[str, IntArray], size: int) -> tuple[dict[str, IntArray], str]:
    """Keep streams together whose frames belong to each other."""
    # Only the padding is taken off, from the side where it is, and from all streams of a sample alike: zeros on the
    # other side, and those that one stream alone has, are frames.
    pairs = np.stack(list(found.values()))
    first = np.where(pairs[:, :, 1] > 0, pairs[:, :, 0], size).min(axis=0)
    end = pairs[:, :, 1].max(axis=0)
    side = _padding_side(np.stack([np.minimum(first, end), end], axis=1), size)
    if side != "front":
        first = np.zeros_like(first)
    if side != "back":
        end = np.full_like(end, size)
    both = np.stack([first, end], axis=1)
    return {name: np.where(span[:, 1:] > 0, both, 0) for name, span in found.items()}, side


def _unpadded(values: npt.NDArray[np.float32], spans: IntArray) -> Ragged:
    frame = np.arange(values.shape[1])
    inside = (frame >= spans[:, :1]) & (frame < spans[:, 1:])
    return Ragged(values=values[inside], lengths=inside.sum(axis=1, dtype=np.int64))
