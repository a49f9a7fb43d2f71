"""HyPe as the comparison sees it: its question, its arms and its sources."""

from __future__ import annotations

from modicum.core.method import Arm, Comparison, Method, Metric, Source
from modicum.perturb import arms
from modicum.perturb.configuration import COMPARISON

_COMPARISON = Comparison(
    method="hype",
    question="Does noise on the hidden representations help fine-tuning with few labels?",
    metric=Metric(name="held-out score"),
    arms=(
        Arm(name="vanilla", role="baseline", run=arms.vanilla, summary="fine-tuning with the model's own dropout"),
        Arm(
            name="HyPe-N",
            role="method",
            run=arms.hype_normal,
            summary="normal noise on the input of every layer; dropout off, as the paper recommends",
        ),
        Arm(name="HyPe-U", role="method", run=arms.hype_uniform, summary="the same with uniform noise"),
        Arm(
            name="dropout off",
            role="control",
            run=arms.dropout_off,
            summary="HyPe without its noise: is it the missing dropout that helps?",
        ),
        Arm(
            name="NEFTune",
            role="control",
            run=arms.neftune,
            summary="noise on the embeddings alone, with dropout: would any noise do?",
        ),
        Arm(
            name="R-Drop",
            role="control",
            run=arms.r_drop,
            summary="two passes with different dropout must agree: what do twice the passes buy?",
        ),
        Arm(
            name="R3F",
            role="control",
            run=arms.r3f,
            summary="a pass with noisy embeddings must agree with the clean one; with dropout, twice the passes",
        ),
        Arm(
            name="NoisyTune",
            role="control",
            run=arms.noisy_tune,
            summary="noise on the pre-trained weights, once, with dropout",
        ),
    ),
    beside=(
        Metric(name="accuracy (STS-B: Spearman)"),
        Metric(name="training loss", higher_is_better=False),
        Metric(name="diverged", higher_is_better=False),
    ),
    costs=(
        Metric(name="forward passes an update", higher_is_better=False, digits=0),
        Metric(name="fine-tuning", higher_is_better=False, unit="s", digits=1),
    ),
    settings=COMPARISON,
    data={
        "demo": "scikit-learn digits: a tiny ViT knows five classes, learns the other five from few labels; accuracy",
        "full": "glue-small: few training examples, the whole development set; accuracy on RTE and SST-2, Matthews "
        "correlation on CoLA, F1 on MRPC, Pearson correlation on STS-B",
    },
    own_data="A folder with train.tsv and dev.tsv of the task, as GLUE has them (with --budget full).",
)

METHOD = Method(
    name="hype",
    title="HyPe: noise on the hidden representations while fine-tuning",
    saves="fine-tuning data",
    sources=(
        Source(
            authors="Yuan, Yuan, Tan, Huang and Huang",
            year=2023,
            title="HyPe: Better Pre-trained Language Model Fine-tuning with Hidden Representation Perturbation",
            address="https://arxiv.org/abs/2212.08853",
        ),
        Source(
            authors="Yuan, Yuan, Tan, Huang and Huang",
            year=2023,
            title="Code of HyPe, commit 196efd5f",
            address="https://github.com/Yuanhy1997/HyPe",
        ),
    ),
    comparison=_COMPARISON,
)
