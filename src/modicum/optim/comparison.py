"""NSGD as the comparison sees it: its question, its arms and its sources."""

from __future__ import annotations

from modicum.core.method import Arm, Comparison, Method, Metric, Source
from modicum.optim import arms
from modicum.optim.configuration import COMPARISON

_COMPARISON = Comparison(
    method="nsgd",
    question="Does one learning rate work across input scales?",
    metric=Metric(name="test accuracy, mean over rates and input scales"),
    arms=(
        Arm(name="SGD", role="baseline", run=arms.sgd, summary="momentum 0.9"),
        Arm(
            name="NSGD l2", role="method", run=arms.nsgd_l2, summary="each gradient over the power of its layer's input"
        ),
        Arm(name="NSGD l1", role="method", run=arms.nsgd_l1, summary="the same with the sum of absolute inputs"),
        Arm(name="AdamW", role="control", run=arms.adam, summary="would any adaptive method do?"),
        Arm(
            name="constant factors",
            role="control",
            run=arms.first_batch_power,
            summary="SGD with NSGD's divisors of the first batch, frozen: is it more than a rate a layer?",
        ),
        Arm(
            name="standardised inputs",
            role="control",
            run=arms.sgd_standardised,
            summary="SGD on inputs of mean 0 and std 1 (each column of a table): would one line of preprocessing do?",
        ),
        Arm(
            name="unit gradient",
            role="control",
            run=arms.unit_gradient,
            summary="SGD on g / ||g||, the other method of that name",
        ),
    ),
    beside=(
        Metric(name="rate tuned at scale 1"),
        Metric(name="one rate for all scales"),
        Metric(name="own rate for each scale"),
    ),
    settings=COMPARISON,
    data={
        "demo": "scikit-learn digits: 1,797 images of 8 x 8, half for training, a quarter each for validation and test",
        "full": "cifar10-jpeg: 45,000 training, 5,000 validation and 10,000 test images",
    },
    own_data="A CSV file with a column label and numbers in all others, or an NPZ file with arrays x and y.",
)

METHOD = Method(
    name="nsgd",
    title="NSGD: SGD normalised by the power of each layer's input",
    saves="learning-rate tuning",
    sources=(
        Source(
            authors="Atici, Pan and Cetin",
            year=2022,
            title="Input Normalized Stochastic Gradient Descent Training of Deep Neural Networks",
            address="https://arxiv.org/abs/2212.09921",
        ),
        Source(
            authors="Atici, Pan and Cetin",
            year=2024,
            title="Input Normalized Stochastic Gradient Descent Training for Deep Neural Networks",
            address="https://openreview.net/forum?id=5TaBxctwRZ",
        ),
    ),
    comparison=_COMPARISON,
)
