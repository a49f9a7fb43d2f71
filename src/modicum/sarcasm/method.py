"""X-PuDu as the floor sees it: its question, its arms and its sources."""

from __future__ import annotations

from modicum.core.method import Arm, Comparison, Method, Metric, Option, Source
from modicum.core.pretrained import OFFLINE
from modicum.sarcasm import arms
from modicum.sarcasm.plan import TINY

_COMPARISON = Comparison(
    method="xpudu",
    question="Does one encoder that is fine-tuned on English and Arabic together tell sarcasm better?",
    metric=Metric(name="task A: F1 of sarcastic, mean of the languages"),
    arms=(
        Arm(
            name="n-grams",
            role="baseline",
            run=arms.ngrams,
            summary="character n-grams and logistic regression, one for each language",
        ),
        Arm(
            name="joint fine-tuning",
            role="method",
            run=arms.joint,
            summary="one encoder, three heads, both languages in each batch",
        ),
        Arm(
            name="joint, shift-robust",
            role="method",
            run=arms.joint_robust,
            summary="the same on cleaned texts with their dialect, cropped to like lengths, rephrases as negatives",
        ),
        Arm(
            name="n-grams, shift-robust",
            role="control",
            run=arms.ngrams_robust,
            summary="the baseline on the same texts: is it what was done to the texts that helps?",
        ),
        Arm(
            name="monolingual fine-tuning",
            role="control",
            run=arms.monolingual,
            summary="an encoder for each language: is it fine-tuning that helps, or the other language?",
        ),
        Arm(
            name="frozen encoder",
            role="control",
            run=arms.frozen_encoder,
            summary="logistic regression on the encoder as it is: does fine-tuning add anything?",
        ),
    ),
    beside=(
        Metric(name="A en F1"),
        Metric(name="A ar F1"),
        Metric(name="B macro F1"),
        Metric(name="C en accuracy"),
        Metric(name="C ar accuracy"),
    ),
    costs=(Metric(name="models", higher_is_better=False, digits=0),),
    options=(
        Option(
            name="model",
            default={"demo": TINY, "full": OFFLINE},
            help="hub id or folder of an encoder, offline for the packaged MiniLM (English), tiny for a new one",
        ),
        Option(name="pooling", default={"demo": "mean", "full": "mean"}, help="mean or cls: what the heads see"),
        Option(name="epochs", default={"demo": "8", "full": "3"}, help="passes over the training texts"),
        Option(name="batch", default={"demo": "16", "full": "32"}, help="texts an update"),
        Option(name="rate", default={"demo": "1e-3", "full": "5e-5"}, help="largest learning rate of AdamW"),
        Option(
            name="folds",
            default={"demo": "1", "full": "1"},
            help="models of an ensemble; 1 trains one and holds a fifth of the texts out for calibration",
        ),
        Option(
            name="rule",
            default={"demo": "oof_f1", "full": "oof_f1"},
            help="of labels: oof_f1, half, top_share or prior_shift",
        ),
    ),
    data={
        "demo": "short texts written for modicum, which are no real messages: half of them sarcastic, 30 % held out",
        "full": "isarcasmeval: trained on its training files, scored on its official test files",
    },
    own_data="A folder laid out as iSarcasmEval, or a CSV or JSONL file with text and sarcastic (30 % are held out).",
)

METHOD = Method(
    name="xpudu",
    title="X-PuDu: sarcasm in English and Arabic by joint fine-tuning",
    saves="labels per language",
    sources=(
        Source(
            authors="Han, Chai, Wang, Sun, Huang, Chen, Xu and Yang",
            year=2022,
            title="X-PuDu at SemEval-2022 Task 6: Multilingual Learning for English and Arabic Sarcasm Detection",
            address="https://arxiv.org/abs/2211.16883",
        ),
        Source(
            authors="Abu Farha, Oprea, Wilson and Magdy",
            year=2022,
            title="SemEval-2022 Task 6: iSarcasmEval, Intended Sarcasm Detection in English and Arabic",
            address="https://aclanthology.org/2022.semeval-1.111/",
        ),
    ),
    comparison=_COMPARISON,
)
