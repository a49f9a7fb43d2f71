"""The pickles of the released CubeMLP: lists of utterances with several features of each stream."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from modicum.core.safeload.limits import MAX_BYTES
from modicum.errors import DataError
from modicum.fusion.readers.fields import Say, frames, names_of, silent, split_in
from modicum.fusion.readers.misa import Utterance, from_utterances, read_lists, words_of
from modicum.fusion.recordings import FloatArray, Recordings

# In the order of the released loader. A file with a single one of audio or video (MOSEI) has covarep or facet42.
TEXT = ("text", "glove", "last_hidden_state", "masked_last_hidden_state", "pooler_output", "summed_last_four_states")
AUDIO = ("covarep", "opensmile_eb10", "opensmile_is09")
VIDEO = ("facet41", "facet42", "openface")
_SINGLE = {AUDIO: "covarep", VIDEO: "facet42"}


def read_released(
    path: Path,
    *,
    text: str = "text",
    audio: str = "covarep",
    video: str | None = None,
    say: Say = silent,
    max_bytes: int = MAX_BYTES,
) -> dict[str, Recordings]:
    """Read pickles as the released CubeMLP reads them."""
    parse = partial(parse_released, text=text, audio=audio, video=video, say=say)
    return read_lists(path, parse, max_bytes=max_bytes)


def parse_released(
    content: object,
    path: Path,
    *,
    text: str = "text",
    audio: str = "covarep",
    video: str | None = None,
    say: Say = silent,
    clip: bool = False,
) -> dict[str, Recordings]:
    """Do what `read_released` does with a pickle that is loaded."""
    for asked, known in ((text, TEXT), (audio, AUDIO), (video or VIDEO[0], VIDEO)):
        if asked not in known:
            raise DataError(f"There is no feature {asked!r}.", hint=f"Use one of: {', '.join(known)}.")
    split = split_in(path.stem) or "all"
    parse = partial(_utterance, text=text, audio=audio, video=video)
    return {split: from_utterances(content, parse, f"{path}, {split}", say, clip=clip)}


def _utterance(item: Any, where: str, *, text: str, audio: str, video: str | None) -> Utterance:
    (texts, audios, videos), label, *_classes, segment = item
    words = words_of(texts[0])
    streams = {
        "audio": _feature(audios, audio, AUDIO, f"{where}, audio"),
        "video": _feature(videos, video or (VIDEO[0] if len(videos) > 1 else _SINGLE[VIDEO]), VIDEO, f"{where}, video"),
    }
    for name, stream in streams.items():
        if len(stream) != len(words):
            raise DataError(
                f"{where}: {name} has {len(stream)} frames for {len(words)} words.", hint="Give one frame a word."
            )
    if text != "text":
        streams = {"text": _feature(texts, text, TEXT, f"{where}, text"), **streams}
    return words, float(np.ravel(label)[0]), names_of([segment], where)[0], streams


def _feature(values: Sequence[Any], name: str, known: tuple[str, ...], where: str) -> FloatArray:
    there = (_SINGLE[known],) if len(values) == 1 and known in _SINGLE else known[: len(values)]
    if name not in there:
        raise DataError(f"{where} has no {name!r}; it has {', '.join(there)}.", hint="Choose one of these.")
    value = np.asarray(values[there.index(name)])
    return frames(value[None] if value.ndim == 1 else value, 2, where)  # a pooled text is one vector
