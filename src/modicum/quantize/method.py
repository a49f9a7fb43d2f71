"""RAPQ as the floor sees it: its question, its arms and its sources."""

from __future__ import annotations

from modicum.core.method import Arm, Comparison, Method, Metric, Option, Source
from modicum.quantize import arms

_COMPARISON = Comparison(
    method="rapq",
    question="Does a network whose scales are all powers of two keep more accuracy than one whose scales are snapped?",
    metric=Metric(name="test accuracy", digits=4),
    arms=(
        Arm(
            name="naive snap",
            role="baseline",
            run=arms.naive_snap,
            summary="scales of least error, snapped to powers of two; zero points as suits better; rounded by GPTQ",
        ),
        Arm(
            name="RAPQ hessian",
            role="method",
            run=arms.rapq_hessian,
            summary="all exponents with all zero points under second moments, mantissas absorbed, exponents polished",
        ),
        Arm(
            name="RAPQ paper",
            role="method",
            run=arms.rapq_paper,
            summary="the same, then unit-wise reconstruction by gradient descent",
        ),
        Arm(
            name="snap, corrected",
            role="control",
            run=arms.snap_corrected,
            summary="the naive snap with RAPQ's targets and biases: is it the scales, or only making up for errors?",
        ),
        Arm(
            name="float scales",
            role="control",
            run=arms.float_scales,
            summary="RAPQ hessian with real scales: what do powers of two cost?",
        ),
        Arm(name="float network", role="control", run=arms.float_network, summary="nothing is quantized"),
    ),
    beside=(Metric(name="whole channels", digits=3),),
    costs=(
        Metric(name="kB", higher_is_better=False, digits=1),
        Metric(name="weight bits", higher_is_better=False, digits=2),
    ),
    options=(
        Option(
            name="network",
            default={"demo": "digits", "full": "resnet20"},
            help="in full, resnet20 or a folder of a transformers classifier of CIFAR-10 (see examples/rapq_train.py)",
        ),
        Option(name="weight_bits", default={"demo": "2", "full": "2"}, help="of the layers between first and last"),
        Option(name="activation_bits", default={"demo": "4", "full": "4"}, help="likewise; none for weights only"),
        Option(name="calibration", default={"demo": "256", "full": "256"}, help="training images, without labels"),
        Option(
            name="iterations", default={"demo": "200", "full": "300"}, help="gradient steps of RAPQ paper for each unit"
        ),
        Option(name="p_slope", default={"demo": "0.9", "full": "0.9"}, help="of RAPQ paper's loss; none for p = 2"),
    ),
    data={
        "demo": "scikit-learn's digits: a small residual network is trained on half, the other half is the test",
        "full": "cifar10-jpeg with the public ResNet-20, or --option network: calibration by the seed, all test images",
    },
)

METHOD = Method(
    name="rapq",
    title="RAPQ: power-of-two low-bit post-training quantization",
    saves="bits",
    sources=(
        Source(
            authors="Yao, Li, Sun, Cheng, Liu, Zhang and Wang",
            year=2022,
            title="RAPQ: Rescuing Accuracy for Power-of-Two Low-bit Post-training Quantization",
            address="https://arxiv.org/abs/2204.12322",
        ),
        Source(
            authors="Frantar, Ashkboos, Hoefler and Alistarh",
            year=2023,
            title="GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
            address="https://arxiv.org/abs/2210.17323",
        ),
        Source(
            authors="Nagel, Amjad, van Baalen, Louizos and Blankevoort",
            year=2020,
            title="Up or Down? Adaptive Rounding for Post-Training Quantization",
            address="https://arxiv.org/abs/2004.10568",
        ),
    ),
    comparison=_COMPARISON,
)
