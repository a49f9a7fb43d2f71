"""Sampling, selection and training of SeqDiffuSeq against what they replace, with the quality of both.

Run: python benchmarks/seqdiffuseq.py [--budget demo|full] [--rounds N] [--json]

One process on one thread, processor seconds, in turns; a ratio is taken within its round, and its median is reported.

``sampling``: the network of the comparison's method arm, trained here, writes each source once, in 20 calls, in 2,000
calls with the posterior variance of the released code (as published), and beside it the autoregressive control, greedy
with kept keys, trained for as many steps. Their errors are on the same sources, and the copied source has one too.
``sources``: ten candidates of a source by 20 calls of DDIM, from a source that is encoded once and whose keys the
candidates share, against keys that are computed at each call for each candidate (as the released code does), and an
encoder that runs at each call. ``selection``: exact minimum Bayes risk among the ten candidates against a loop over
sacrebleu.sentence_bleu. ``training``: a step with its schedule against a plain one, where the table of the schedule is
copied at each use, losses are noted sample by sample, and the encoder runs in both passes of self-conditioning.
The last three have networks of random weights where quality does not matter. ``curve``: error against network calls.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import sacrebleu
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from modicum.core.environment import this_run
from modicum.core.method import Job
from modicum.core.seeding import seeded_globally
from modicum.textdiffusion import (
    SeqDiffuSeqConfig,
    SeqDiffuSeqForConditionalGeneration,
    TokenNoiseSchedule,
    choose,
    generate_texts,
    score_texts,
)
from modicum.textdiffusion.comparison import METHOD, Prepared, fit, prepare
from modicum.textdiffusion.controls import Autoregressive
from modicum.textdiffusion.functional import add_noise, denoising_loss, prior_loss
from modicum.textdiffusion.model import Memory

CURVE = (2, 5, 10, 20, 50, 100, 200)
GOALS = {"keys of each candidate at each call": 1.15, "encoder at each call": 1.15, "sacrebleu": 20.0}

Work = Callable[[], Any]


def in_turns(arms: dict[str, Work], rounds: int, ours: str) -> list[dict[str, Any]]:
    """Time each arm in each round, and give medians and the median ratio to ours."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds):
        for name, work in arms.items():
            began = time.process_time()
            work()
            seconds[name].append(time.process_time() - began)
    return [
        {
            "arm": name,
            "seconds": statistics.median(taken),
            "ratio": statistics.median(them / us for them, us in zip(taken, seconds[ours], strict=True)),
            **({"goal": GOALS[name]} if name in GOALS else {}),
        }
        for name, taken in seconds.items()
    ]


def trained(budget: Any, steps: int | None) -> tuple[Job, Prepared, Any, Any]:
    """Train the method and the autoregressive control as the comparison does."""
    settings = METHOD.comparison.settings_for(budget, {} if steps is None else {"steps": str(steps)})
    job = Job(seed=0, budget=budget, settings=replace(settings, schedule_every=max(1, settings.steps // 10)))
    prepared = prepare(job)
    rate = settings.rates[-1]
    greedy = fit(job, prepared, rate=rate, kind=Autoregressive, schedule_every=0)
    return job, prepared, fit(job, prepared, rate=rate), greedy


def sampling(
    model: Any, greedy: Any, prepared: Prepared, items: Sequence[tuple[str, Sequence[str]]], rounds: int, calls: int
) -> list[dict[str, Any]]:
    """Give sentences a second and the error of both procedures and of greedy decoding."""
    sources, references = [source for source, _ in items], [each for _, each in items]
    found: dict[str, list[list[str]]] = {}

    def write(name: str, network: Any, **options: Any) -> Work:
        def work() -> None:
            given = {"num_return_sequences": 1, "selection": "none", "truncate": True, "batch_size": 100, **options}
            found[name] = generate_texts(network, prepared.tokenizer, sources, **given)

        return work

    ours = f"{calls} calls"
    arms = {
        ours: write(ours, model, num_inference_steps=calls),
        "as published": write(
            "as published", model, num_inference_steps=model.config.num_steps, posterior_variance="released"
        ),
        "autoregressive": write("autoregressive", greedy),
    }
    rows = in_turns(arms, rounds, ours)
    for row in rows:
        scores = score_texts(found[row["arm"]], references, sources, bleu=False)
        row |= {"sentences a second": len(sources) / row["seconds"], "error": scores["error_rate"]}
        row["error of the copied source"] = scores["copied_error_rate"]
    return rows


def curve(model: Any, prepared: Prepared, items: Sequence[tuple[str, Sequence[str]]]) -> list[dict[str, Any]]:
    """Give the error of one sample over the number of calls, for each sampler."""
    sources, references = [source for source, _ in items], [each for _, each in items]
    rows: list[dict[str, Any]] = []
    for sampler in ("ddpm", "ddim", "dpmpp_2m"):
        for calls in CURVE:
            found = generate_texts(
                model,
                prepared.tokenizer,
                sources,
                truncate=True,
                num_inference_steps=calls,
                num_return_sequences=1,
                selection="none",
                sampler=sampler,
            )
            error = score_texts(found, references, sources, bleu=False)["error_rate"]
            rows.append({"arm": sampler, "calls": calls, "error": error})
    return rows


def network(width: int, tokens: int) -> SeqDiffuSeqForConditionalGeneration:
    """Make a network of random weights."""
    config = SeqDiffuSeqConfig(
        vocab_size=1000,
        embedding_dim=64,
        d_model=width,
        attention_heads=4,
        ffn_dim=4 * width,
        encoder_layers=2,
        decoder_layers=2,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        source_length=tokens,
        target_length=tokens,
        max_position_embeddings=tokens,
    )
    with seeded_globally(0, "initialisation"):
        return SeqDiffuSeqForConditionalGeneration(config)


@torch.no_grad()
def sources(width: int, tokens: int, rounds: int, *, batch: int = 8, candidates: int = 10) -> list[dict[str, Any]]:
    """Time ways to read the source."""
    model = network(width, tokens).eval()
    ids = torch.randint(5, 1000, (batch, tokens))
    noise = torch.randn(batch * candidates, tokens, model.config.embedding_dim)
    layers: Any = model.input_transformers.decoder.layers
    mask = torch.ones(batch * candidates, 1, 1, tokens, dtype=torch.bool)
    every = ids.repeat_interleave(candidates, dim=0)

    def states() -> Tensor:
        embedded = model.input_up_proj_enc(model.input_transformers.shared(ids))
        return model.input_transformers.encoder(embedded, mask[:batch]).repeat_interleave(candidates, dim=0)

    def sample(read: Callable[[], Callable[[], Memory]]) -> Tensor:
        again, sample, prediction = read(), noise, torch.zeros_like(noise)
        for t in model.schedule.set_timesteps(20):
            times = model.network_times(torch.full((len(noise),), t))
            prediction = model.denoise(sample, prediction, times, again())
            sample = model.schedule.step(prediction, t, sample, sampler="ddim")
        return sample

    def shared() -> Callable[[], Memory]:
        memory = model.encode(ids)
        return lambda: memory

    def keys() -> Callable[[], Memory]:
        encoded = states()
        return lambda: Memory([layer.encoder_attn.project(encoded) for layer in layers], mask)

    ways = {
        "encoded once, shared keys": shared,
        "keys of each candidate at each call": keys,
        "encoder at each call": lambda: lambda: model.encode(every),
    }
    results = [sample(read) for read in ways.values()]
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-3, atol=1e-3)
    return in_turns({name: lambda read=read: sample(read) for name, read in ways.items()}, rounds, next(iter(ways)))


def selection(texts: list[list[str]], rounds: int) -> list[dict[str, Any]]:
    """Time minimum Bayes risk, and refuse another choice."""
    chosen: dict[str, list[int]] = {}

    def matrices() -> None:
        chosen["matrices"] = choose([[text.split() for text in candidates] for candidates in texts])

    def loop() -> None:
        chosen["sacrebleu"] = [
            int(
                np.argmax(
                    [
                        sum(
                            sacrebleu.sentence_bleu(text, [other]).score
                            for place, other in enumerate(candidates)
                            if place != own
                        )
                        for own, text in enumerate(candidates)
                    ]
                )
            )
            for candidates in texts
        ]

    rows = in_turns({"matrices": matrices, "sacrebleu": loop}, rounds, "matrices")
    if chosen["matrices"] != chosen["sacrebleu"]:
        raise SystemExit("The two ways choose different candidates.")
    return rows


def training(width: int, tokens: int, rounds: int, *, batch: int = 32, steps: int = 5) -> list[dict[str, Any]]:
    """Time steps of the optimizer with self-conditioning, which draws the same share in both."""
    ids, labels = torch.randint(5, 1000, (2, batch, tokens)).unbind()

    def ours() -> Work:
        model = network(width, tokens).train()
        return stepping(model, lambda: model(ids, labels=labels, self_conditioning=1.0).loss, steps)

    def plain() -> Work:
        model = network(width, tokens).train()
        table = model.schedule.alphas_cumprod.numpy().copy()
        losses, counts = np.zeros((2, model.schedule.bins, tokens))
        return stepping(model, lambda: plain_loss(model, ids, labels, table, losses, counts), steps)

    return in_turns({"ours": ours(), "plain": plain()}, rounds, "ours")


def stepping(model: SeqDiffuSeqForConditionalGeneration, loss: Callable[[], Tensor], steps: int) -> Work:
    """Make some steps of AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, weight_decay=0.0)

    def work() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()

    return work


def plain_loss(
    model: SeqDiffuSeqForConditionalGeneration, ids: Tensor, labels: Tensor, table: Any, losses: Any, counts: Any
) -> Tensor:
    """Compute the loss with a table that is copied at each use, and note it sample by sample."""
    schedule: TokenNoiseSchedule = model.schedule
    times = torch.randint(schedule.num_steps, (len(labels),))

    def level(at: Tensor) -> Tensor:
        return torch.tensor(table)[at].float()[..., None]

    embedded = model.input_transformers.shared(labels)
    noisy = add_noise(embedded, torch.randn_like(embedded), level(torch.zeros_like(times)))
    sample = add_noise(noisy, torch.randn_like(noisy), level(times))
    network_times = model.network_times(times)
    with torch.no_grad():
        condition = model.denoise(sample, torch.zeros_like(sample), network_times, model.encode(ids))
    prediction = model.denoise(sample, condition, network_times, model.encode(ids))
    by_position = denoising_loss(prediction, noisy, embedded, times)
    mask = labels.ne(model.config.pad_token_id).numpy()
    for row, t in enumerate(times.tolist()):
        place = t * schedule.bins // schedule.num_steps
        losses[place] += by_position[row].detach().numpy() * mask[row]
        counts[place] += mask[row]
    rounding = cross_entropy(model.lm_head(noisy).flatten(0, 1), labels.flatten())
    return by_position.mean() + prior_loss(noisy, torch.tensor(table)[-1].float()) + rounding


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--budget", choices=["demo", "full"], default="demo", help="of the trained networks")
    parser.add_argument("--steps", type=int, default=None, help="of their training; those of the budget by default")
    parser.add_argument("--sources", type=int, default=100, help="that are written at most")
    parser.add_argument("--calls", type=int, default=20, help="network calls of ours")
    parser.add_argument("--width", type=int, default=128, help="of networks of random weights")
    parser.add_argument("--tokens", type=int, default=64, help="of their sources and targets")
    parser.add_argument("--rounds", type=int, default=5, help="in turns; medians are reported")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    _, prepared, model, greedy = trained(options.budget, options.steps)
    items = prepared.task.test[: options.sources]
    candidates = generate_texts(
        model, prepared.tokenizer, [source for source, _ in items], truncate=True, selection="none", batch_size=100
    )
    parts = {
        "sampling": sampling(model, greedy, prepared, items, options.rounds, options.calls),
        "sources": sources(options.width, options.tokens, options.rounds),
        "selection": selection(candidates, options.rounds),
        "training": training(options.width, options.tokens, options.rounds),
        "curve": curve(model, prepared, items),
    }
    rows = [{"part": name, **row} for name, part in parts.items() for row in part]
    if options.json:
        environment = this_run()
        print(json.dumps({"results": rows, **vars(options), "environment": environment}, indent=1))
        return
    for row in rows:
        print(
            "  ".join(f"{name}: {value:.4g}" if isinstance(value, float) else f"{value}" for name, value in row.items())
        )


if __name__ == "__main__":
    main()
