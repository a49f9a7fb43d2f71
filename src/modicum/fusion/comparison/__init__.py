"""CubeMLP against other fusions: the same samples and encoders; what fuses the modalities differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias, get_args

import numpy as np
from torch import nn

from modicum.core.method import Arm, Budget, Comparison, Job, Measurement, Method, Metric, Source
from modicum.errors import RunError
from modicum.fusion.batches import BoolArray
from modicum.fusion.comparison.linear import Linear
from modicum.fusion.comparison.peers import AttentionFusion, ConcatenationMLP, parameters, with_parameters_of
from modicum.fusion.comparison.problem import Problem, score, setup, shuffle
from modicum.fusion.configuration import COMPARISON, ComparisonSettings
from modicum.fusion.degradation import draw_present
from modicum.fusion.fitting import configure, fit
from modicum.fusion.functional import Norm
from modicum.fusion.mixer import CubeMLP
from modicum.fusion.recordings import FloatArray, Recordings
from modicum.fusion.system import FusionSystem
from modicum.fusion.training import Recipe

_HALF = 0.5
Fusion: TypeAlias = Callable[[CubeMLP], nn.Module]
Predict: TypeAlias = Callable[[Recordings, BoolArray], FloatArray]
# A modality's loss on the validation split, what it predicts, and its parameters.
Alone: TypeAlias = tuple[float, Callable[[Recordings], FloatArray], int]

_concatenated: Fusion = partial(with_parameters_of, make=ConcatenationMLP)
_attended: Fusion = partial(with_parameters_of, make=AttentionFusion)


def _single(job: Job, problem: Problem) -> Measurement:
    """Take the modality that is best on the validation split, alone."""
    losses, predictors, sizes = zip(*_alone(problem, job), strict=True)
    best = int(np.argmin(losses))

    def chosen(recordings: Recordings, present: BoolArray) -> FloatArray:
        predicted = predictors[best](recordings)
        return np.where(present[:, best].reshape(-1, *[1] * (predicted.ndim - 1)), predicted, _prior(problem))

    return _measured(problem, job, chosen, sizes[best])


def _average(job: Job, problem: Problem) -> Measurement:
    """Take the mean of what each modality says alone."""
    _, predictors, sizes = zip(*_alone(problem, job), strict=True)

    def mean(recordings: Recordings, present: BoolArray) -> FloatArray:
        said = np.stack([predict(recordings) for predict in predictors], axis=-1)
        weights = present.reshape(len(present), *[1] * (said.ndim - 2), -1)
        return (said * weights).sum(-1) / weights.sum(-1)

    return _measured(problem, job, mean, sum(sizes))


def _linear(job: Job, problem: Problem) -> Measurement:
    """Fit a linear model."""
    linear = Linear(problem)
    return _measured(problem, job, linear.predict, linear.parameters)


def _fused(
    job: Job, problem: Problem, *, fusion: Fusion | None = None, shuffled: bool = False, norm: Norm = "pre"
) -> Measurement:
    settings: ComparisonSettings = job.settings
    problem = replace(problem, settings={**problem.settings, "norm": norm})
    if shuffled:
        problem = shuffle(problem, settings.shuffled or next(iter(problem.train.streams)), seed=job.seed)
    system = _fit(problem, settings, job, fusion)
    predict: Predict = lambda recordings, present: system.predict(recordings, present=present)
    return _measured(problem, job, predict, parameters(system.model))


def _fit(problem: Problem, settings: ComparisonSettings, job: Job, fusion: Fusion | None) -> FusionSystem:
    config = configure(
        problem.train,
        encoder=settings.encoder,
        channels=settings.channels,
        modality_dropout=settings.modality_dropout,
        allow_degenerate=len(problem.train.streams) == 1,  # where another fusion is put in its place
        **problem.settings,
    )
    recipe = Recipe(epochs=settings.epochs, batch=settings.batch, schedule="linear")
    given: dict[str, Any] = {"config": config, "seed": job.seed, "device": job.device, "fusion": fusion}
    systems: list[FusionSystem] = []
    for rate in settings.rates:
        try:
            systems.append(fit(problem.train, problem.valid, recipe=replace(recipe, rate=rate), **given))
        except RunError:  # it diverged
            if rate == settings.rates[-1] and not systems:
                raise
    return min(systems, key=_loss)


def _loss(system: FusionSystem) -> float:
    # On validation, of the epoch that was kept; it chooses between rates, and between modalities.
    return float(np.nanmin(system.training.losses)) if system.training is not None else np.inf


def _alone(problem: Problem, job: Job) -> list[Alone]:
    if problem.estimates is not None:
        return [_as_it_is(problem, name, problem.estimates) for name in problem.train.streams]
    return [_trained_alone(problem, job, name) for name in problem.train.streams]


def _as_it_is(problem: Problem, name: str, frame: int) -> Alone:
    def predict(recordings: Recordings) -> FloatArray:
        stream = recordings.streams[name]
        return stream.values.reshape(len(recordings), -1, stream.size)[:, frame]

    concordances = [score(part, predict(part)) for part in (problem.train, problem.valid)]
    return 1 - float(np.mean(concordances)), predict, 0


def _trained_alone(problem: Problem, job: Job, name: str) -> Alone:
    only = lambda recordings: replace(recordings, streams={name: recordings.streams[name]})
    learnt = problem.change(lambda part: only(part).take(np.flatnonzero(part.streams[name].lengths)))
    system = _fit(learnt, replace(job.settings, modality_dropout=0.0), job, _concatenated)

    def predict(recordings: Recordings) -> FloatArray:
        found = np.repeat(np.asarray(_prior(problem))[None], len(recordings), axis=0)
        there = np.flatnonzero(recordings.streams[name].lengths)
        found[there] = system.predict(only(recordings.take(there)))
        return found

    return _loss(system), predict, parameters(system.model)


def _prior(problem: Problem) -> FloatArray:
    # What is said of a sample of which nothing is known.
    labels = np.asarray(problem.train.labels)
    if labels.dtype.kind in "iu":
        count = len(problem.train.classes) or int(labels.max()) + 1
        return (np.bincount(labels, minlength=count) / len(labels)).astype(np.float32)
    return labels.mean(0)


def _measured(problem: Problem, job: Job, predict: Predict, size: int) -> Measurement:
    test = problem.test
    there = np.stack([test.streams[name].lengths > 0 for name in problem.train.streams], axis=1)
    left = draw_present(there, _HALF, seed=job.seed)
    predicted = predict(test, there)
    return Measurement(
        value=problem.score(predicted),
        secondary={"with half of the streams missing": problem.score(predict(test, left))},
        costs={"parameters": float(size)},
        items=problem.items(predicted),
    )


_DATA = {
    "motions": "BasicMotions out of the wheel of sktime: 80 recordings, of which few are learnt from",
    "mosi": "mosi-features: nine utterances of text, audio and video for each; its test videos are the test",
    "ces": "AVEC2019 CES: what nine systems predicted of arousal, valence and liking, at 21 frames around one",
}


def _of_task(settings: ComparisonSettings) -> Comparison:
    return replace(_COMPARISON, data=dict.fromkeys(get_args(Budget), _DATA[settings.task]), variant=None)


_COMPARISON = Comparison(
    method="cubemlp",
    question="Does mixing a cube along time, modality and channel make more of several modalities?",
    metric=Metric(name="test accuracy of classes, or mean concordance of estimates"),
    arms=(
        Arm(
            name="best single modality",
            role="baseline",
            run=_single,
            summary="the modality with the lowest validation loss, alone",
        ),
        Arm(
            name="CubeMLP",
            role="method",
            run=_fused,
            summary="three MLPs a block, along each axis of the cube; layer norms first, as in the released recipe",
        ),
        Arm(
            name="CubeMLP, norm on the branch",
            role="method",
            run=partial(_fused, norm="branch"),
            summary="the same with the layer norms where the paper's figure has them",
        ),
        Arm(
            name="concatenation MLP",
            role="control",
            run=partial(_fused, fusion=_concatenated),
            summary="the modalities of a frame joined, an MLP of as many parameters, learned weights over time",
        ),
        Arm(
            name="attention",
            role="control",
            run=partial(_fused, fusion=_attended),
            summary="all frames of all modalities attend to each other, as many parameters, learned weights over time",
        ),
        Arm(
            name="linear",
            role="control",
            run=_linear,
            summary="logistic or ridge regression on all frames side by side: is a network needed?",
        ),
        Arm(
            name="mean of single modalities",
            role="control",
            run=_average,
            summary="what each modality says alone, averaged: does mixing them inside add anything?",
        ),
        Arm(
            name="CubeMLP, one stream shuffled",
            role="control",
            run=partial(_fused, shuffled=True),
            summary="CubeMLP with one stream given to other samples: is it used at all?",
        ),
    ),
    secondary=(Metric(name="with half of the streams missing"),),
    costs=(Metric(name="parameters", higher_is_better=False, digits=0),),
    settings=COMPARISON,
    setup=setup,
    variant=_of_task,
    data={"demo": _DATA["motions"], "full": _DATA["mosi"]},
    own_data="A file that modicum fusion convert reads, with splits or without.",
)

METHOD = Method(
    name="cubemlp",
    title="CubeMLP: multimodal fusion by MLPs along time, modality and channel",
    saves="parameters and FLOPs",
    sources=(
        Source(
            authors="Sun, Wang, Liu, Chen and Lin",
            year=2022,
            title="CubeMLP: An MLP-based Model for Multimodal Sentiment Analysis and Depression Estimation",
            address="https://arxiv.org/abs/2207.14087",
        ),
        Source(
            authors="Sun, Wang, Liu, Chen and Lin",
            year=2022,
            title="CubeMLP, the released code",
            address="https://github.com/kiva12138/CubeMLP",
        ),
    ),
    comparison=_COMPARISON,
)
