"""The pickles of MISA, MAG-BERT and the released CubeMLP: lists of utterances with one frame of each stream a word."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np

from modicum.errors import DataError
from modicum.fusion.readers.common import (
    Reading,
    finished,
    frames,
    group_of,
    names_of,
    scores,
    split_in,
    splits_in,
    text_of,
)
from modicum.fusion.recordings import FloatArray, Ragged, Recordings

# Words, label, segment, and the frames of each stream.
Utterance: TypeAlias = tuple[tuple[str, ...] | None, float, str, Mapping[str, FloatArray]]


def parse_misa(content: object, path: Path, how: Reading) -> dict[str, Recordings]:
    """Read a pickle of MISA or MAG-BERT."""
    lists = splits_in(content, path, how.say) if isinstance(content, dict) else {split_in(path.stem) or "all": content}
    return {name: _recordings(part, _utterance, f"{path}, {name}", how) for name, part in lists.items()}


def parse_released(content: object, path: Path, how: Reading) -> dict[str, Recordings]:
    """Read a pickle of the released CubeMLP: of the features of its utterances the first, as its recipes do."""
    split = split_in(path.stem) or "all"
    return {split: _recordings(content, _released_utterance, f"{path}, {split}", how)}


def _recordings(part: object, parse: Callable[[Any, str], Utterance], where: str, how: Reading) -> Recordings:
    if not isinstance(part, list) or not part:
        raise DataError(f"{where} is no list of utterances.", hint="Check the format.")
    rows: list[Utterance] = []
    for row, item in enumerate(cast("list[object]", part)):
        try:
            rows.append(parse(item, f"{where}, row {row}"))
        except DataError:
            raise
        except (IndexError, KeyError, TypeError, ValueError) as error:
            hint = "Check the format."
            raise DataError(f"{where}, row {row}, is no utterance of this format ({error}).", hint=hint) from error
    words = tuple(row[0] for row in rows if row[0] is not None)
    ids = tuple(row[2] for row in rows)
    return finished(
        where,
        how.say,
        ids=ids,
        streams={name: _joined([row[3][name] for row in rows], name, where) for name in rows[0][3]},
        words=words if len(words) == len(rows) else None,
        labels=scores([row[1] for row in rows], f"{where}, label", ids, how),
        groups=tuple(group_of(name, numbered=True) for name in ids),
    )


def _joined(samples: Sequence[FloatArray], name: str, where: str) -> Ragged:
    size = samples[0].shape[1]
    if other := [row for row, sample in enumerate(samples) if sample.shape[1] != size]:
        raise DataError(
            f"{where}, row {other[0]}: {name} has {samples[other[0]].shape[1]} values a frame, and {size} in row 0.",
            hint="Use the same features for all utterances.",
        )
    return Ragged.of(samples, size)


def _utterance(item: Any, where: str) -> Utterance:
    (numbers, video, audio, *actual), label, segment = item
    given = actual[0] if actual else numbers  # some files have the numbers of words, and their texts behind the frames
    has_text = len(given) > 0 and isinstance(np.ravel(given)[0], str | bytes)
    return _checked(_words(given) if has_text else None, len(numbers), audio, video, label, segment, where)


def _released_utterance(item: Any, where: str) -> Utterance:
    (texts, audios, videos), label, *_classes, segment = item
    words = _words(texts[0])
    return _checked(words, len(words), audios[0], videos[0], label, segment, where)


def _checked(
    words: tuple[str, ...] | None, count: int, audio: object, video: object, label: Any, segment: object, where: str
) -> Utterance:
    streams = {"audio": frames(audio, 2, f"{where}, audio"), "video": frames(video, 2, f"{where}, video")}
    for name, stream in streams.items():
        if len(stream) != count:
            hint = "Give one frame a word."
            raise DataError(f"{where}: {name} has {len(stream)} frames for {count} words.", hint=hint)
    return words, float(np.ravel(label)[0]), names_of([segment], where)[0], streams


def _words(values: Any) -> tuple[str, ...]:
    return tuple(map(text_of, np.ravel(values).tolist()))
