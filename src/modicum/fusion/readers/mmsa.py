"""The pickles of MMSA: padded arrays of MOSI, MOSEI and SIMS, aligned to words or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from modicum.core.safeload.limits import MAX_BYTES
from modicum.errors import DataError
from modicum.fusion.readers.fields import (
    Say,
    entries,
    finished,
    frames,
    group_of,
    load,
    names_of,
    rows_of,
    scores,
    silent,
    splits_in,
    text_of,
)
from modicum.fusion.readers.padding import common_spans, spans, spans_of_lengths, unpad
from modicum.fusion.recordings import IntArray, Ragged, Recordings

Target: TypeAlias = Literal["M", "T", "A", "V"]

_KEYS = {"text": "text", "audio": "audio", "video": "vision"}
_PADDING = {"front": "padding at the front", "back": "padding at the back", "no": "no padding"}
_SPAN = (-3.0, 3.0)  # of MOSI and MOSEI; SIMS goes from -1 to 1


def read_mmsa(
    path: Path,
    *,
    text: Literal["features", "words"] = "features",
    target: Target = "M",
    say: Say = silent,
    max_bytes: int = MAX_BYTES,
) -> dict[str, Recordings]:
    """Read a pickle of MMSA."""
    # The words are those of ``raw_text``. The length of a text is that of the mask in ``text_bert``, since the features
    # of BERT at its padding need not be zero. Those of audio and video are ``audio_lengths`` and ``vision_lengths``;
    # where the file has none they end, or begin if the file is padded at the front, with the frames that are not zero.
    # In an aligned file (as many frames in all streams) the padding that all streams of a sample share is taken off,
    # and frames stay with their word. A stream that is zero throughout in a sample is absent there.
    return parse_mmsa(load(path, max_bytes=max_bytes), path, text=text, target=target, say=say)


def parse_mmsa(
    content: object,
    path: Path,
    *,
    text: Literal["features", "words"] = "features",
    target: Target = "M",
    say: Say = silent,
    clip: bool = False,
) -> dict[str, Recordings]:
    """Do what `read_mmsa` does with a pickle that is loaded."""
    splits = splits_in(entries(content, (), path), path, say)
    return {name: _split(part, f"{path}, {name}", text, target, say, clip=clip) for name, part in splits.items()}


def _split(part: object, where: str, text: str, target: Target, say: Say, *, clip: bool) -> Recordings:
    label = "regression_labels" if target == "M" else f"regression_labels_{target}"
    table = entries(part, ["id"] if target == "M" else ["id", label], where)
    wanted = ("text", "audio", "video") if text == "features" else ("audio", "video")
    names = tuple(name for name in wanted if _KEYS[name] in table)
    if not names:
        raise DataError(f"{where} has none of {', '.join(_KEYS[name] for name in wanted)}.", hint="Check the format.")
    if lost := [_KEYS[name] for name in wanted if name not in names]:
        say(f"{where} has no {' and no '.join(lost)}.")
    if label not in table:
        say(f"{where} has no {label}: its samples have no labels.")
    mask = _text_bert(table["text_bert"], where)[:, 1] if "text_bert" in table and "text" in names else None
    streams = ragged_streams(table, names, where, say, mask=mask)
    ids = names_of(table["id"], f"{where}, id")
    if all(group_of(name) == name for name in ids):
        say(f"{where}: no id says a video, such as video$_$3: each sample is a group of its own.")
    recordings = Recordings(
        ids=ids,
        streams=streams,
        words=_words(table["raw_text"], f"{where}, raw_text") if "raw_text" in table else None,
        labels=scores(table[label], _SPAN, f"{where}, {label}", names=ids, clip=clip, say=say)
        if label in table
        else None,
        groups=tuple(map(group_of, ids)),
    )
    return finished(recordings, where, say)


def _words(texts: object, where: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(text_of(text).split()) for text in rows_of(texts, where))


def ragged_streams(
    table: Mapping[str, object], names: Sequence[str], where: str, say: Say, *, mask: IntArray | None = None
) -> dict[str, Ragged]:
    """Take the streams out of their padded arrays."""
    arrays = {name: frames(table[_KEYS[name]], 3, f"{where}, {_KEYS[name]}") for name in names}
    if len({len(array) for array in arrays.values()}) != 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise DataError(
            f"{where} has different numbers of samples in its streams: {shapes}.", hint="Give each sample all."
        )
    found = {name: spans(array) for name, array in arrays.items()}
    if mask is not None:
        if arrays["text"].shape[:2] != mask.shape:
            raise DataError(
                f"{where}: text has the shape {arrays['text'].shape}, and text_bert a mask of {mask.shape}.",
                hint="Give both for the same samples and word pieces.",
            )
        found["text"] = spans(mask[:, :, None])
    aligned = len({array.shape[1] for array in arrays.values()}) == 1
    places: dict[str, IntArray] = {}
    for group in [tuple(names)] if aligned else [(name,) for name in names]:
        size, lengths = arrays[group[0]].shape[1], table.get(f"{_KEYS[group[0]]}_lengths")
        together, side = common_spans({name: found[name] for name in group}, size)
        say(f"{where}: {', '.join(group)} {'are aligned and have' if aligned else 'has'} {_PADDING[side]}.")
        if isinstance(lengths, list | tuple) and all(length is None for length in lengths):
            lengths = None
        if lengths is not None and not aligned:
            together = {group[0]: spans_of_lengths(found[group[0]], size, lengths, f"{where}, {group[0]}")}
        places |= together
    return {name: unpad(arrays[name], places[name]) for name in names}


def read_text_bert(path: Path, *, max_bytes: int = MAX_BYTES) -> dict[str, IntArray]:
    """Read the word pieces of a pickle of MMSA, which some files hold as float."""
    splits = splits_in(entries(load(path, max_bytes=max_bytes), (), path), path, silent)
    return {
        name: _text_bert(entries(part, ["text_bert"], f"{path}, {name}")["text_bert"], f"{path}, {name}")
        for name, part in splits.items()
    }


def _text_bert(value: object, where: str) -> IntArray:
    pieces = frames(value, 3, f"{where}, text_bert")  # float32 is exact up to 16 million, beyond every vocabulary
    whole = np.isfinite(pieces).all() and bool((pieces == np.round(pieces)).all())
    if pieces.shape[1] != 3 or not whole:
        raise DataError(
            f"{where}, text_bert, has the shape {pieces.shape}{'' if whole else ' and values that are not integers'}.",
            hint="Give ids, mask and segments: shape (samples, 3, pieces).",
        )
    return pieces.astype(np.int64)
