"""Samples as tensors, and samples that are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.fusion.made_up import recordings, text_config, tokenizer

from modicum.errors import ConfigError, DataError
from modicum.fusion import CubeMLPConfig, Ragged, Recordings, Stream
from modicum.fusion.batches import Collator, Items, batches_of_like_length, moved, split_words

AUDIO, VIDEO = Stream(name="audio", size=3), Stream(name="video", size=2)


def config(*streams: Stream, **settings: Any) -> CubeMLPConfig:
    return CubeMLPConfig([8, len(streams), 4], [[4, len(streams), 4]], streams=streams, **settings)


def sample(**streams: int) -> Recordings:
    """Make one sample with frames of so many ones."""
    sizes = {"audio": 3, "video": 2}
    return Recordings(
        ids=("film[0]",),
        streams={name: Ragged.of([np.ones((frames, sizes[name]))], sizes[name]) for name, frames in streams.items()},
        words=(("good", "film"),),
        labels=np.array([1.0], np.float32),
    )


def test_a_batch_is_padded_at_the_end_and_says_how_far() -> None:
    drawn = recordings(6)
    items = Items(config(VIDEO, AUDIO), drawn)
    batch = Collator()([items[place] for place in range(6)])
    for name, stream in drawn.streams.items():
        padded, lengths = batch["features"][name], batch["lengths"][name]
        assert lengths.tolist() == stream.lengths.tolist()
        assert padded.shape[1] == lengths.max()
        for place in range(6):
            assert np.array_equal(padded[place, : lengths[place]], stream[place])
            assert not padded[place, lengths[place] :].any()
    assert batch["present"].tolist() == [[bool(length), True] for length in drawn.streams["video"].lengths]
    assert np.array_equal(batch["labels"], drawn.labels)  # type: ignore[arg-type]
    assert batch["labels"].dtype == torch.float32


def test_a_stream_that_nobody_has_is_one_empty_frame() -> None:
    batch = Collator()([Items(config(AUDIO, VIDEO), sample(audio=2, video=0))[0]])
    assert batch["features"]["video"].shape == (1, 1, 2)
    assert batch["lengths"]["video"].tolist() == [0]
    assert batch["present"].tolist() == [[True, False]]


def test_text_comes_as_pieces_or_as_states(tmp_path: Path) -> None:
    drawn = recordings(3, words=True)
    pieces = split_words(tokenizer(tmp_path), drawn.words or ())
    settings = config(Stream(name="text", size=16, text=True), AUDIO, VIDEO, text_encoder=text_config())
    batch = Collator(padding=0)(list(Items(settings, drawn, pieces=pieces)))
    mask = batch["attention_mask"]
    assert mask.sum(1).tolist() == [len(it.input_ids) for it in pieces]
    assert (batch["word_ids"][mask == 0] == -1).all()
    assert (batch["input_ids"][mask == 0] == 0).all()
    states = [torch.ones(len(it.input_ids), 16) for it in pieces]
    batch = Collator()(list(Items(settings, drawn, pieces=pieces, states=states)))
    assert "input_ids" not in batch
    assert torch.equal(batch["text_states"], mask[..., None].expand(-1, -1, 16).float())


def test_a_text_without_words_is_absent(tmp_path: Path) -> None:
    silent = replace(sample(audio=2), words=((),))
    items = Items(
        config(Stream(name="text", size=16, text=True), AUDIO, text_encoder=text_config()),
        silent,
        pieces=split_words(tokenizer(tmp_path), [()]),
    )
    assert items.present.tolist() == [[False, True]]


def test_frames_of_words_that_were_cut_are_cut(tmp_path: Path) -> None:
    words = Stream(name="audio", size=3, per_word=True)
    given = sample(audio=2, video=5)
    without = Items(config(words, VIDEO), given, max_words=1)[0]
    assert without.features["audio"].shape == (2, 3)  # as no text is read
    with pytest.warns(UserWarning, match="were cut"):
        pieces = split_words(tokenizer(tmp_path), given.words or (), max_words=1)
    text = Stream(name="text", size=16, text=True)
    item = Items(config(text, words, VIDEO, text_encoder=text_config()), given, pieces=pieces, max_words=1)[0]
    assert item.features["audio"].shape == (1, 3)
    assert item.features["video"].shape == (5, 2)


def test_what_is_taken_away_is_not_present() -> None:
    items = Items(config(AUDIO, VIDEO), sample(audio=2, video=0), present=[[True, True]])
    assert items.present.tolist() == [[True, False]]
    with pytest.raises(DataError, match=r"no frame of any modality, the first is film\[0\]"):
        Items(config(AUDIO, VIDEO), sample(audio=2, video=0), present=[[False, True]])
    with pytest.raises(ConfigError, match=r"present has the shape \(1, 3\)"):
        Items(config(AUDIO, VIDEO), sample(audio=2, video=0), present=[[True, True, True]])


def test_batches_of_like_length_have_each_sample_once() -> None:
    items = Items(config(AUDIO, VIDEO), recordings(11))
    seen, longest = [], []
    for places, batch in batches_of_like_length(items, Collator(), 4):
        seen += places.tolist()
        longest.append(max(int(lengths.max()) for lengths in batch["lengths"].values()))
        assert np.array_equal(batch["labels"], items.labels[places])  # type: ignore[index]
    assert sorted(seen) == list(range(11))
    assert longest == sorted(longest)


def test_moving_reaches_the_tables() -> None:
    batch = Collator()([Items(config(AUDIO, VIDEO), sample(audio=2, video=1))[0]])
    away = moved(batch, "meta")
    assert away["features"]["audio"].is_meta
    assert away["labels"].is_meta


@pytest.mark.parametrize(
    ("streams", "given", "error", "message"),
    [
        ((AUDIO, VIDEO), sample(audio=2), ConfigError, "takes the streams audio, video, but the recordings have audio"),
        ((AUDIO,), sample(audio=2, video=2), ConfigError, "takes the streams audio, but the recordings have audio, v"),
        ((Stream(name="audio", size=5), VIDEO), sample(audio=2, video=2), ConfigError, "has 3 values.* takes 5"),
        ((AUDIO, VIDEO), sample(audio=0, video=0), DataError, r"1 samples have no frame .* film\[0\]"),
        (
            (Stream(name="audio", size=3, per_word=True), VIDEO),
            sample(audio=3, video=2),
            DataError,
            r"film\[0\] has 2 words, but 3 frames of audio",
        ),
        (
            (Stream(name="text", size=16, text=True), AUDIO),
            replace(sample(audio=3), words=None),
            ConfigError,
            "reads text, but the recordings have no words",
        ),
    ],
)
def test_recordings_that_do_not_fit_are_refused(
    streams: tuple[Stream, ...], given: Recordings, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Items(config(*streams, allow_degenerate=True), given)


def test_a_value_that_is_not_finite_is_refused() -> None:
    drawn = recordings(5)
    audio = drawn.streams["audio"]
    audio.values[audio.lengths[:3].sum(), 1] = -np.inf
    with pytest.raises(DataError, match=r"A frame of audio .* in film0\[3\]"):
        replace(drawn, streams={"audio": audio})


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        ([np.nan, 1.0], {}, r"label of film0\[0\] is nan, not a finite number"),
        ([[1.0, 1.0], [2.0, 2.0]], {}, r"shape \(2, 2\), but the model gives \(2,\)"),
        ([1.0, 2.0], {"outputs": 2}, r"shape \(2,\), but the model gives \(2, 2\)"),
        ([0, 3], {"loss": "cross_entropy", "outputs": 3}, r"film0\[1\] is 3, not a class from 0 to 2"),
        ([0, 0.5], {"loss": "cross_entropy", "outputs": 3}, r"film0\[1\] is 0.5, not a class"),
    ],
)
def test_labels_that_the_model_cannot_have_are_refused(labels: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Items(config(AUDIO, VIDEO, **settings), replace(recordings(2), labels=np.asarray(labels)))
