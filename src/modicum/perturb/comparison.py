"""HyPe as the comparison sees it: its question, and one fine-tuning with what each arm changes of it."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from modicum.core.extras import require
from modicum.core.method import Arm, Comparison, Job, Measurement, Method, Metric, Role, Source
from modicum.core.seeding import derive, seeded_globally, torch_generator
from modicum.core.splits import at_rows, shuffled
from modicum.core.training import Loss, fine_tune
from modicum.errors import ConfigError
from modicum.perturb.configuration import COMPARISON, ComparisonSettings, HyPeConfig, comparison_settings
from modicum.perturb.data import RECIPE, MetricName, Problem, digits_problem, find_task, text_problem
from modicum.perturb.sites import DropoutSwitch

if TYPE_CHECKING:
    from transformers import TrainerCallback

# Ours, of the sizes that the papers use as far as we know them; none of them was tuned here.
# The noise of NEFTune is alpha / sqrt(length times width): 5, the smallest of its paper, is 0.016 for 128 tokens of 768
# values, and 0.36 is the same for the 16 patches of 32 values of the demo.
NEFTUNE_ALPHA = {"demo": 0.36, "full": 5.0}
R_DROP_ALPHA = 1.0
R3F_WEIGHT, R3F_SIGMA = 1.0, 1e-5
NOISY_TUNE_INTENSITY = 0.15
HELD_OUT = 5  # of so many training examples one chooses rate and sigma
LOSS_EXAMPLES = 1000  # that the final training loss is taken over at most, ours: it is a reading, not a result


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What an arm does otherwise than vanilla fine-tuning."""

    callbacks: Sequence[TrainerCallback] = ()  # for the Trainer
    loss: Loss | None = None  # in place of the model's own, in training only
    neftune: float | None = None  # noise level of NEFTune, for Trainer's own option
    passes: int = 1  # forward passes an update


Alter: TypeAlias = Callable[[Job, Problem], Change]


def vanilla(_: Job, __: Problem) -> Change:
    """Keep the model's own dropout."""
    return Change()


def hype(job: Job, _: Problem, *, noise: Literal["normal", "uniform"]) -> Change:
    """Add noise to the input of every layer, without dropout."""
    from modicum.perturb import HyPeCallback

    settings: ComparisonSettings = job.settings
    config = HyPeConfig(
        noise=noise, sigma=settings.sigmas[0], sigma_mode=settings.sigma_mode, seed=derive(job.seed, "noise")
    )
    return Change(callbacks=[HyPeCallback(config)])


def dropout_off(_: Job, problem: Problem) -> Change:
    """Turn dropout off: what HyPe does apart from its noise, and nothing else."""
    DropoutSwitch(problem.model)  # the very one that HyPe uses, so that the arms differ in the noise alone
    return Change()


def neftune(job: Job, _: Problem) -> Change:
    """Add uniform noise to the embeddings alone, by Trainer's own option, with dropout."""
    return Change(neftune=NEFTUNE_ALPHA[job.budget])


def r_drop(_: Job, __: Problem) -> Change:
    """Make two passes of different dropout, which must answer alike."""
    return Change(loss=partial(r_drop_loss, alpha=R_DROP_ALPHA), passes=2)


def r3f(job: Job, _: Problem) -> Change:
    """Make a second pass, on noisy embeddings, which must answer as the first."""
    generator = torch_generator(job.seed, "noise", job.device)
    return Change(loss=partial(r3f_loss, weight=R3F_WEIGHT, sigma=R3F_SIGMA, generator=generator), passes=2)


def noisy_tune(job: Job, problem: Problem) -> Change:
    """Add uniform noise to the pre-trained weights, once."""
    noisy_tune_(problem.model.base_model, intensity=NOISY_TUNE_INTENSITY, generator=torch_generator(job.seed, "noise"))
    return Change()


def setup(job: Job) -> Problem:
    """Read the task and load the model, which each arm of a seed copies."""
    settings = comparison_settings(job)
    require("transformers", extra="text", purpose="Fine-tuning")
    if job.budget == "demo":
        return digits_problem(job.seed, train_size=settings.train_size)
    return text_problem(
        find_task(settings.task),
        job.data,
        model=settings.model,
        seed=job.seed,
        train_size=settings.train_size,
        max_length=settings.max_length,
    )


def run(job: Job, shared: Problem, *, alter: Alter, noisy: bool = False) -> Measurement:
    """Choose the rate of an arm, and its sigma where it is noisy, then fine-tune with them on all examples."""
    settings: ComparisonSettings = job.settings
    sigmas = settings.sigmas if noisy else settings.sigmas[:1]
    tried = [
        replace(job, settings=replace(settings, rates=(rate,), sigmas=(sigma,)))
        for rate, sigma in itertools.product(settings.rates, sigmas)
    ]
    if len(tried) == 1:
        return fine_tuned(job, shared, alter=alter)
    held = len(shared.train) // HELD_OUT
    if not held:
        raise ConfigError(
            f"{len(shared.train)} training examples are too few to choose rate and sigma by.",
            hint="Give more, or one of each: --option rates=1e-4 --option sigmas=1e-5.",
        )
    order = [shared.train[row] for row in shuffled(len(shared.train), job.seed, "choice")]
    part = replace(shared, train=order[held:], held_out=order[:held], among=None)
    best = max(tried, key=lambda each: fine_tuned(each, part, alter=alter).value)
    return fine_tuned(best, shared, alter=alter)


def fine_tuned(job: Job, shared: Problem, *, alter: Alter) -> Measurement:
    """Fine-tune with what an arm changes, and score the held-out examples."""
    settings: ComparisonSettings = job.settings
    problem = replace(shared, model=copy.deepcopy(shared.model))
    change = alter(job, problem)
    with seeded_globally(job.seed, "noise"):
        trainer, result = fine_tune(
            problem.model,
            problem.train,
            seed=job.seed,
            device=job.device,
            extra="text",
            collate=problem.collate,
            loss=change.loss,
            callbacks=change.callbacks,
            per_device_train_batch_size=settings.batch,
            per_device_eval_batch_size=64,
            num_train_epochs=settings.epochs,
            learning_rate=settings.rates[0],
            neftune_noise_alpha=change.neftune,
            **RECIPE,
        )
        outputs = np.asarray(trainer.predict(problem.held_out).predictions)  # type: ignore[arg-type]
        loss = trainer.evaluate(problem.train[:LOSS_EXAMPLES])["eval_loss"]  # type: ignore[arg-type]
    costs = {"forward passes an update": float(change.passes), "fine-tuning": result.metrics["train_runtime"]}
    known, labels = (np.array([row["labels"] for row in part]) for part in (problem.train, problem.held_out))
    judged = judge(problem.metric, outputs, float(loss), known=known, labels=labels)
    right = judged.pop("right")
    items = at_rows(right, problem.among) if problem.metric == "accuracy" else ()
    return Measurement(costs=costs, items=items, **judged)


def judge(
    metric: MetricName, outputs: np.ndarray, loss: float, *, known: np.ndarray, labels: np.ndarray
) -> dict[str, Any]:
    """Score outputs and the training loss; what is not finite scores as the constant prediction does."""
    from scipy import stats

    regression = metric == "pearson"
    # A model that learnt nothing answers with the most common training class, or the mean training score.
    constant = np.full(len(labels), float(known.mean() if regression else np.bincount(known).argmax()))
    finite = bool(np.isfinite(outputs).all()) and math.isfinite(loss)
    if not finite:
        predictions, loss = constant, float(np.var(known) if regression else stats.entropy(np.bincount(known)))
    else:
        predictions = outputs[:, 0] if regression else outputs.argmax(axis=1)
    value = score(metric, predictions, labels)
    return {
        "value": value,
        "secondary": {
            "accuracy (STS-B: Spearman)": score("spearman" if regression else "accuracy", predictions, labels),
            "training loss": loss,
        },
        "diverged": not finite or value <= score(metric, constant, labels),
        "right": predictions == labels,
    }


def score(metric: MetricName | Literal["spearman"], predictions: np.ndarray, labels: np.ndarray) -> float:
    """Score predictions with one of the metrics of GLUE."""
    from scipy import stats
    from sklearn import metrics

    match metric:
        case "accuracy":
            return float(metrics.accuracy_score(labels, predictions))
        case "f1":
            # The stubs know only one of the values that zero_division may have.
            return float(metrics.f1_score(labels, predictions, zero_division=0.0))  # pyright: ignore[reportArgumentType]
        case "matthews":
            return float(metrics.matthews_corrcoef(labels, predictions))
        case _:
            if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
                return 0.0
            correlate: Any = stats.pearsonr if metric == "pearson" else stats.spearmanr
            return float(correlate(predictions, labels).statistic)


def symmetric_kl(first: Tensor, second: Tensor) -> Tensor:
    """Compute KL(p || q) + KL(q || p) of the softmaxes of two sets of logits, mean over the examples."""
    p, q = F.log_softmax(first, dim=-1), F.log_softmax(second, dim=-1)
    # sum (p - q) (log p - log q) is the two divergences in one.
    return ((p.exp() - q.exp()) * (p - q)).sum(dim=-1).mean()


def disagreement(first: Tensor, second: Tensor) -> Tensor:
    """Compute how far two passes disagree: `symmetric_kl`, or twice the squared difference for a regression."""
    return 2 * F.mse_loss(first, second) if first.shape[-1] == 1 else symmetric_kl(first, second)


def r_drop_loss(model: nn.Module, inputs: Mapping[str, Tensor], *, alpha: float) -> Tensor:
    """Compute the loss of R-Drop: two passes with their own dropout, which must answer alike."""
    first, second = model(**inputs), model(**inputs)
    return (first.loss + second.loss) / 2 + alpha / 2 * disagreement(first.logits, second.logits)


def r3f_loss(
    model: Any, inputs: Mapping[str, Tensor], *, weight: float, sigma: float, generator: torch.Generator
) -> Tensor:
    """Compute the loss of R3F: a pass with normal noise on the input embeddings must answer as the clean one."""

    def perturb(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + torch.empty_like(output).normal_(std=sigma, generator=generator)

    clean = model(**inputs)
    with model.get_input_embeddings().register_forward_hook(perturb):
        noisy = model(**inputs)
    return clean.loss + weight * disagreement(clean.logits, noisy.logits)


@torch.no_grad()
def noisy_tune_(model: nn.Module, *, intensity: float, generator: torch.Generator) -> None:
    """Add uniform noise to the pre-trained weights, once, before fine-tuning."""
    # Each parameter W becomes W + u std(W), with u uniform in (-intensity / 2, intensity / 2) for each element. A
    # parameter of one element has no std and stays.
    for parameter in model.parameters():
        if parameter.numel() > 1:
            draw = torch.rand(parameter.shape, generator=generator) - 0.5
            parameter.add_(intensity * parameter.std() * draw.to(parameter))


_ARMS: tuple[tuple[str, Role, Alter, str], ...] = (
    ("dropout off", "baseline", dropout_off, "HyPe without its noise: what it does apart from that, and nothing else"),
    (
        "HyPe-N",
        "method",
        partial(hype, noise="normal"),
        "normal noise on the input of every layer; dropout off, as the paper recommends",
    ),
    ("HyPe-U", "method", partial(hype, noise="uniform"), "the same with uniform noise"),
    ("vanilla", "control", vanilla, "fine-tuning with the model's own dropout"),
    ("NEFTune", "control", neftune, "noise on the embeddings alone, with dropout: would any noise do?"),
    ("R-Drop", "control", r_drop, "two passes with different dropout must agree: what do twice the passes buy?"),
    (
        "R3F",
        "control",
        r3f,
        "a pass with noisy embeddings must agree with the clean one; with dropout, twice the passes",
    ),
    ("NoisyTune", "control", noisy_tune, "noise on the pre-trained weights, once, with dropout"),
)

_COMPARISON = Comparison(
    method="hype",
    question="Does noise on the hidden representations help fine-tuning with few labels?",
    metric=Metric(name="held-out score"),
    arms=tuple(
        Arm(name=name, role=role, run=partial(run, alter=alter, noisy=role == "method"), summary=summary)
        for name, role, alter, summary in _ARMS
    ),
    secondary=(
        Metric(name="accuracy (STS-B: Spearman)"),
        Metric(name="training loss", higher_is_better=False),
    ),
    costs=(
        Metric(name="forward passes an update", higher_is_better=False, digits=0),
        Metric(name="fine-tuning", higher_is_better=False, unit="s", digits=1),
    ),
    settings=COMPARISON,
    setup=setup,
    data={
        "demo": "scikit-learn digits: a tiny ViT knows five classes, learns the other five from few labels; accuracy",
        "full": "glue-small: few training examples, the entire development set; accuracy on RTE and SST-2, Matthews "
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
