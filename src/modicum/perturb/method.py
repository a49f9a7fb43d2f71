"""HyPe as the comparison sees it: its question, its arms and its sources."""

from __future__ import annotations

from modicum.core.method import Arm, Comparison, Method, Metric, Option, Source
from modicum.perturb import arms
from modicum.perturb.plan import DIGITS, TINY_VIT

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
    options=(
        Option(name="task", default={"demo": DIGITS, "full": "rte"}, help="rte, cola, mrpc, stsb or sst2 (full)"),
        Option(
            name="model",
            default={"demo": TINY_VIT, "full": "offline"},
            help="hub id or local folder of an encoder, or offline for the packaged MiniLM (full)",
        ),
        Option(
            name="train_size",
            default={"demo": "50", "full": "1000"},
            help="labelled examples, drawn by the seed; 0 for all (full), or for half of them (demo)",
        ),
        Option(name="epochs", default={"demo": "30", "full": "3"}, help="passes over the training examples"),
        Option(name="batch", default={"demo": "16", "full": "16"}, help="examples an update"),
        Option(name="rate", default={"demo": "2e-3", "full": "2e-5"}, help="largest learning rate of AdamW"),
        Option(name="max_length", default={"demo": "0", "full": "128"}, help="tokens that an example keeps (full)"),
        Option(
            name="sigma",
            default={"demo": "1e-5", "full": "1e-5"},
            help="noise of HyPe and R3F: std, or bound of the uniform one; the paper's best is 1e-5",
        ),
    ),
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
