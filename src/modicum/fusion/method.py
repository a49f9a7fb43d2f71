"""CubeMLP as the floor sees it: its question, its arms and its sources."""

from __future__ import annotations

from modicum.core.method import Arm, Comparison, Method, Metric, Option, Source
from modicum.fusion import arms

_COMPARISON = Comparison(
    method="cubemlp",
    question="Does mixing a cube along time, modality and channel make more of several modalities?",
    metric=Metric(name="test accuracy of classes, or mean concordance of estimates"),
    arms=(
        Arm(
            name="best single modality",
            role="baseline",
            run=arms.single,
            summary="the modality with the lowest validation loss, alone",
        ),
        Arm(
            name="CubeMLP",
            role="method",
            run=arms.cube,
            summary="three MLPs a block, along each axis of the cube; layer norms first, as in the released recipe",
        ),
        Arm(
            name="CubeMLP, norm on the branch",
            role="method",
            run=arms.cube_branch,
            summary="the same with the layer norms where the paper's figure has them",
        ),
        Arm(
            name="concatenation MLP",
            role="control",
            run=arms.concatenation,
            summary="the modalities of a frame joined, an MLP of as many parameters, the mean over time",
        ),
        Arm(
            name="attention",
            role="control",
            run=arms.attention,
            summary="all frames of all modalities attend to each other, with as many parameters",
        ),
        Arm(
            name="mean of single modalities",
            role="control",
            run=arms.average,
            summary="what each modality says alone, averaged: does mixing them inside add anything?",
        ),
        Arm(
            name="CubeMLP, one stream shuffled",
            role="control",
            run=arms.cube_shuffled,
            summary="CubeMLP with one stream given to other samples: is it used at all?",
        ),
    ),
    beside=(Metric(name="with half of the streams missing"),),
    costs=(Metric(name="parameters", higher_is_better=False, digits=0),),
    options=(
        Option(
            name="task",
            default={"demo": "motions", "full": "mosi"},
            help="motions (BasicMotions), mosi (utterances, 0 or 1) or ces (arousal, valence, liking of AVEC2019)",
        ),
        Option(
            name="labels",
            default={"demo": "16", "full": "0"},
            help="samples to train on, and of motions as many to choose the epoch by; 0 takes all of the others",
        ),
        Option(
            name="encoder",
            default={"demo": "conv", "full": "gru"},
            help="of the streams: gru, lstm, conv, linear, or none where they are the channels already",
        ),
        Option(name="channels", default={"demo": "16", "full": "32"}, help="of the cube"),
        Option(name="epochs", default={"demo": "20", "full": "12"}, help="of training; the best on validation is kept"),
        Option(name="batch", default={"demo": "4", "full": "32"}, help="samples an update"),
        Option(name="rate", default={"demo": "4e-3", "full": "1e-3"}, help="learning rate"),
        Option(
            name="shuffled",
            default={"demo": "", "full": ""},
            help="stream of the control; the first if it is empty (accelerometer, text, egemaps)",
        ),
        Option(
            name="modality_dropout",
            default={"demo": "0", "full": "0"},
            help="share of training samples that lose a stream",
        ),
    ),
    data={
        "demo": "BasicMotions out of the wheel of sktime: 80 recordings, of which few are learnt from",
        "full": "mosi-features: nine utterances of text, audio and video for each; its test videos are the test",
    },
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
