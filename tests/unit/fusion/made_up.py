"""Samples that are drawn: their label is in the audio, the video and, if there are words, in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from transformers import BertConfig, BertModel, BertTokenizer

from modicum.core.seeding import numpy_generator, seeded_globally
from modicum.fusion import Ragged, Recordings, open_recordings
from modicum.fusion.readers.csd import Csd

WORDS = ["bad", "dull", "film", "fine", "good"]
_VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "##ly", "##s"]


def tokenizer(folder: Path) -> Any:
    file = folder / "words.txt"
    file.write_text("\n".join(_VOCABULARY), encoding="utf-8")
    return BertTokenizer(vocab=str(file), model_max_length=24)


def text_config(layers: int = 2) -> BertConfig:
    return BertConfig(
        vocab_size=len(_VOCABULARY),
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
        initializer_range=0.3,  # else a random encoder hardly tells texts apart
    )


def recordings(count: int, *, seed: int = 0, words: bool = False, classes: int = 0) -> Recordings:
    """Draw audio of 3 values and 2 to 6 frames, and video of 2 values and 0 to 5 frames."""
    draw = numpy_generator(seed, "made up")
    mood = draw.uniform(-3, 3, size=count)
    size = {"audio": 3, "video": 2}
    frames = {"audio": draw.integers(2, 7, size=count), "video": draw.integers(0, 6, size=count)}
    streams = {
        name: Ragged.of(
            [value + 0.3 * draw.normal(size=(length, size[name])) for value, length in zip(mood, lengths, strict=True)],
            size[name],
        )
        for name, lengths in frames.items()
    }
    texts = [[WORDS[min(4, int((value + 3) / 1.2))]] * int(draw.integers(1, 5)) for value in mood]
    labels = np.digitize(mood, np.linspace(-3, 3, classes + 1)[1:-1]) if classes else mood.astype(np.float32)
    return Recordings(
        ids=tuple(f"film{place // 4}[{place % 4}]" for place in range(count)),
        streams=streams,
        words=tuple(tuple(text) for text in texts) if words else None,
        labels=labels,
        classes=tuple(f"mood {it}" for it in range(classes)),
        groups=tuple(f"film{place // 4}" for place in range(count)),
    )


def write_encoder(folder: Path) -> str:
    """Write a random encoder and its tokenizer to a folder, and give its place."""
    place = folder / "encoder"
    with seeded_globally(0, "tiny encoder"):
        BertModel(text_config()).save_pretrained(place)
    tokenizer(folder).save_pretrained(place)
    return str(place)


def reader(form: str) -> Callable[..., Mapping[str, Recordings]]:
    """Make a reader of one format, which passes on its notes."""

    def read(path: Path, *, say: Callable[[str], object] = str) -> Mapping[str, Recordings]:
        opened = open_recordings(path, form)  # type: ignore[arg-type]
        for note in opened.notes:
            say(note)
        return opened.splits

    return read


def write_csd(path: Path, sequence: Csd) -> None:
    """Write a computational sequence as the SDK of its makers does."""
    with h5py.File(path, "w") as file:
        for name, video in sequence.videos.items():
            rows: Any = video.features
            file[f"{sequence.name}/data/{name}/features"] = np.char.encode(rows) if rows.dtype.kind == "U" else rows
            file[f"{sequence.name}/data/{name}/intervals"] = video.intervals
