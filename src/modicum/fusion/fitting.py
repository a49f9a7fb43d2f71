"""From recordings to a system: a configuration that fits them, a validation split, and training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from modicum.core.devices import check_device
from modicum.core.pretrained import open_part, open_text_encoder
from modicum.core.seeding import seeded_globally
from modicum.core.splits import hold_out
from modicum.errors import ConfigError, DataError
from modicum.fusion.batches import Collator, Scaling, open_tokenizer
from modicum.fusion.configuration import CubeMLPConfig, Stream, StreamEncoder
from modicum.fusion.metrics import Task
from modicum.fusion.mixer import CubeMLP
from modicum.fusion.modeling import CubeMLPForPrediction
from modicum.fusion.recordings import Recordings, check_classes
from modicum.fusion.system import FusionEnsemble, FusionSystem, prepare
from modicum.fusion.training import Recipe, train

_LOGGER = logging.getLogger(__name__)
_TASKS: Mapping[str, Task] = {"cross_entropy": "classes", "ccc": "depression"}  # by loss; of others sentiment
LONGEST = 100  # frames of the cube, as published
_FEWEST = 8  # channels at the end of the cube; with 2, drawn signals were not learnt from some seeds


def configure(
    recordings: Recordings,
    *,
    text: str | None = None,
    encoder: StreamEncoder = "gru",
    layers: int = 2,
    channels: int = 128,
    per_word: Collection[str] = (),
    **settings: Any,
) -> CubeMLPConfig:
    """Make a configuration for recordings, in the proportions of the published one.

    The cube has as many frames as the longest stream, at most 100, and 100 where there is text. Two blocks take them
    to a half and a tenth, and the channels to a quarter, at least 8. Labels that are integers are classes.

    Args:
        recordings: of training, with labels.
        text: the encoder of their words: a hub id, a folder, or "offline" for the packaged MiniLM; None leaves the
            words out.
        encoder: of the streams of features.
        layers: of it, where it is recurrent.
        channels: of the cube.
        per_word: streams that have a frame for each word.
        **settings: of `CubeMLPConfig`, in place of these.

    Returns:
        The configuration, with the stream "text" first.

    Raises:
        ConfigError: if a stream is unknown or called as the text is, or a setting is wrong.
        DataError: if there are no labels, or there is nothing to learn from.
    """
    if recordings.labels is None:
        raise DataError("The recordings have no labels to train on.", hint="Give one for each sample.")
    names = ", ".join(recordings.streams) or "none"
    if unknown := sorted(set(per_word) - recordings.streams.keys()):
        hint = f"Choose per_word (--per-word) of: {names}."
        raise ConfigError(f"There is no stream {unknown[0]!r} to have a frame for each word.", hint=hint)
    if text is None and not recordings.streams:
        raise DataError("The recordings have no stream of features.", hint="Name an encoder for their words (--text).")
    if text is not None and "text" in recordings.streams:
        raise ConfigError(
            "The recordings have features of their text, and an encoder shall read the same words.",
            hint=f"Choose streams (--stream) without text, of: {names}.",
        )
    streams = [
        Stream(name=name, size=stream.size, encoder=encoder, layers=layers, per_word=name in per_word)
        for name, stream in recordings.streams.items()
    ]
    if text is not None:
        read = open_part("AutoConfig", text, extra="fusion")
        streams.insert(0, Stream(name="text", size=read.hidden_size, text=True))
        settings = {"text_encoder": read, **settings}
    longest = max((int(stream.lengths.max(initial=0)) for stream in recordings.streams.values()), default=0)
    time = LONGEST if text is not None else min(LONGEST, max(2, longest))
    half, tenth, count = max(2, -(-time // 2)), max(2, -(-time // 10)), len(streams)
    last = min(channels, max(_FEWEST, channels // 4))
    made: dict[str, Any] = {"d_ins": [time, count, channels], "streams": streams}
    made["d_hiddens"] = [[half, count, channels], [tenth, count, last]]
    labels = np.asarray(recordings.labels)
    if labels.dtype.kind in "iu":
        made |= {"outputs": len(recordings.classes) or int(labels.max(initial=0)) + 1, "loss": "cross_entropy"}
    else:
        made["outputs"] = labels.shape[1] if labels.ndim == 2 else 1
    return CubeMLPConfig(**{**made, **settings})


def fit(
    training: Recordings,
    validation: Recordings | None = None,
    *,
    config: CubeMLPConfig,
    recipe: Recipe | None = None,
    task: Task | None = None,
    text: str | None = None,
    max_words: int = 100,
    seed: int = 0,
    device: str = "cpu",
    fusion: Callable[[CubeMLP], nn.Module] | None = None,
) -> FusionSystem:
    """Train a system.

    Args:
        training: with labels.
        validation: with labels, to choose the epoch by; None splits a part of the training samples off.
        config: of the model.
        recipe: how to train.
        task: what it is scored by; None goes by the loss: "cross_entropy" are classes, "ccc" is depression, and the
            others are sentiment.
        text: where the weights of the text encoder and its tokenizer are, as for `configure`.
        max_words: of a text that are read.
        seed: of weights, split, order and dropout.
        device: "cpu" or "cuda".
        fusion: makes what stands in place of the cube, to compare the two; such a system cannot be saved.

    Returns:
        The system, with what its training took.

    Raises:
        ConfigError: if the streams, the task or ``text`` do not fit the configuration, or torch has no such device.
        DataError: if a sample cannot be read, or no part can be split off.
        RunError: if training diverges.
    """
    check_device(device)
    if validation is None:
        training, validation = split_off(training, seed=seed)
    check_classes("validation", validation, training)
    if (text is None) != (config.text_encoder is None):
        hint = "Give `text` to `configure` and to `fit`, or to neither."
        raise ConfigError("The configuration and `text` do not agree on whether there is a text encoder.", hint=hint)
    with seeded_globally(seed, "initialisation"):
        model = CubeMLPForPrediction(config, None if text is None else open_text_encoder(text, extra="fusion"))
        if fusion is not None:
            model.cube = fusion(model.cube)  # type: ignore[assignment] - it has the forward of a cube
    tokenizer = None if text is None else open_tokenizer(text, model.text.encoder)
    scaling = Scaling.fit(training)
    read = lambda part: prepare(config, scaling, part, tokenizer=tokenizer, max_words=max_words)
    items, valid = read(training), read(validation)
    how = {"recipe": recipe or Recipe(), "seed": seed, "collator": Collator.of(tokenizer), "device": device}
    took = train(model, items, valid, **how)
    return FusionSystem(
        model=model,
        scaling=scaling,
        task=task or _TASKS.get(config.loss, "sentiment"),
        classes=training.classes,
        tokenizer=tokenizer,
        max_words=max_words,
        training=took,
    )


def fit_seeds(
    training: Recordings, validation: Recordings | None, *, config: CubeMLPConfig, seeds: Sequence[int], **settings: Any
) -> FusionEnsemble:
    """Train once for each seed; each is logged (`logging`, level INFO).

    Args:
        training: with labels.
        validation: with labels; None splits a part off, another one for each seed.
        config: of each model.
        seeds: at least one, from 0 on, each once.
        **settings: of `fit`.

    Returns:
        All of them; none is better than another by chance, so none is picked.

    Raises:
        ConfigError: if there is no seed, or one twice or below 0.
    """
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ConfigError(f"The seeds are {list(seeds)}.", hint="Give one or more from 0 on, each once.")
    systems: dict[int, FusionSystem] = {}
    for seed in seeds:
        systems[seed] = fit(training, validation, config=config, seed=seed, **settings)
        if (took := systems[seed].training) is not None:
            _LOGGER.info(
                "Seed %d: epoch %d of %d, validation loss %.4f, %.0f s",
                *(seed, took.epoch, len(took.losses), min(took.losses), took.seconds),
            )
    return FusionEnsemble(systems)


def split_off(recordings: Recordings, *, seed: int, share: float = 0.15) -> tuple[Recordings, Recordings]:
    """Split a validation part off."""
    # Groups stay whole where there are groups. Else classes keep their shares, if each has two samples and a place.
    count = len(recordings)
    groups = np.asarray(recordings.groups) if recordings.groups else None
    units = count if groups is None else len(set(recordings.groups))
    if units < 2:
        raise DataError(
            f"The {count} training samples are of {units} {'samples' if groups is None else 'group'}, of which none "
            "can be split off.",
            hint="Give a validation split.",
        )
    labels = recordings.labels
    if groups is not None or labels is None or labels.dtype.kind not in "iu":
        labels = None
    else:
        counts = np.unique(labels, return_counts=True)[1]
        labels = labels if counts.min() >= 2 and len(counts) <= share * count else None
    rest, part = hold_out(count, share, seed, labels=labels, groups=groups)
    return recordings.take(np.sort(rest)), recordings.take(np.sort(part))
