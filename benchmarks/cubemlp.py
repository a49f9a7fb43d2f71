"""Time CubeMLP: its mixers against a plain implementation, and its training with the states of frozen layers kept.

Run: python benchmarks/cubemlp.py [--part cube pipeline] [--frames 25 100] [--dropout 0.1] [--eager] [--json]

cube: the plain implementation permutes each axis to the end as published. Forward and backward of the published MOSI
cube (100 x 3 x 128, two blocks) on a batch of 32, in training mode and on one thread. The plain implementation gets the
cube padded to 100 frames, as published; ours gets the --frames that there are. Both are timed as they are and through
torch.compile, whose compilation (minutes, on one core) comes before. Before, outputs and gradients must agree in
float64. With --dropout 0 nothing is drawn.

pipeline: a training step (forward, backward, clipping, AdamW) of the whole model on 8 utterances of 10 to 25 pieces,
with GRUs for audio and video and the published cube, through two text encoders: the packaged MiniLM (6 layers of 384),
and one of the size of BERT-base (12 layers of 768) with random weights, which cost what trained ones do. Most of their
layers, or all, are frozen with the embeddings. "cached" gets the states behind these, "uncached" computes them in each
step; "released" leaves the embeddings to be trained, as the released code does, so that gradients cross all layers.
Each way trains its own copy, on one thread and without dropout. The losses of the first two must agree to 1e-5 in all
rounds, and that of the third in the first. Where 9 of 12 layers are frozen "uncached" costs at most twice what "cached"
does: a layer that is trained costs about three forward passes, and a frozen one a single one.

The ways take turns within each round, in an order that rotates; a ratio is taken within its round, of processor seconds
of this process, so that time that other processes take is not counted.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertModel, PreTrainedModel

from modicum.core.environment import this_run
from modicum.core.pretrained import OFFLINE, open_text_encoder
from modicum.core.seeding import seeded_globally, torch_generator
from modicum.fusion import CubeMLP, CubeMLPConfig, CubeMLPForPrediction, Recipe, Stream
from modicum.fusion.released import load_released_state_dict
from modicum.fusion.training import parameter_groups

BATCH, LENGTH = 32, 100
TO_END = {"l": (0, 2, 3, 1), "k": (0, 1, 3, 2), "d": (0, 1, 2, 3)}
BACK = {"l": (0, 3, 1, 2), "k": (0, 1, 3, 2), "d": (0, 1, 2, 3)}
PLAIN = "plain"
GOALS = {"ours": 1.5, "ours, compiled": 3.0}
UTTERANCES, PIECES = 8, 25  # of a batch, and the most of an utterance; eight to keep a round short
STEPS = ("cached", "uncached", "released")
CACHED_GOAL = 2.5
Way = Callable[[], None]


class PlainAffines(nn.Module):
    """Two affine maps of the last axis, with GELU between them."""

    def __init__(self, d_in: int, d_hidden: int, d_out: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(d_in, d_hidden), nn.Linear(d_hidden, d_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map the last axis."""
        return self.fc2(functional.gelu(self.fc1(x)))


class PlainBlock(nn.Module):
    """A block of the published recipes: layer norm first, residual projected."""

    def __init__(self, d_in: list[int], d_hidden: list[int], d_out: list[int], dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        for letter, *sizes in zip(TO_END, d_in, d_hidden, d_out, strict=True):
            self.add_module(f"mlp_{letter}", PlainAffines(sizes[0], sizes[1], sizes[2]))
            self.add_module(f"ln_{letter}", nn.LayerNorm(sizes[0], eps=1e-6))
            self.add_module(f"res_projection_{letter}", nn.Linear(sizes[0], sizes[2], bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Mix time, modality and channel."""
        for letter, to_end in TO_END.items():
            norm, mlp, project = (self.get_submodule(f"{it}_{letter}") for it in ("ln", "mlp", "res_projection"))
            x = x.permute(to_end).contiguous()
            x = (self.dropout(mlp(norm(x))) + project(x)).permute(BACK[letter]).contiguous()
        return x


class PlainCube(nn.Module):
    """The blocks, with the names of the released code."""

    def __init__(self, config: CubeMLPConfig) -> None:
        super().__init__()
        self.layers_stack = nn.ModuleList(PlainBlock(*shapes, config.dropouts[0]) for shapes in config.shapes())

    def forward(self, x: Tensor) -> Tensor:
        """Pad with zeros, and mix block after block."""
        x = functional.pad(x, (0, 0, 0, 0, 0, LENGTH - x.shape[1]))
        for block in self.layers_stack:
            x = block(x)
        return x


def step(model: nn.Module, function: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor) -> Way:
    """Give a function that computes the output, and the gradients of the input and of all parameters."""

    def run() -> None:
        model.zero_grad()
        x.grad = None
        function(x).backward(direction)

    return run


def check(plain: nn.Module, ours: nn.Module, x: Tensor, direction: Tensor) -> float:
    """Compare output and gradient of the input in float64, without dropout; give the largest difference."""
    x, direction = x.detach().double().requires_grad_(), direction.double()
    results = [
        (y := model(x), *torch.autograd.grad(y, x, direction))
        for model in (plain.double().eval(), ours.double().eval())
    ]
    with torch.no_grad():
        apart = max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(*results, strict=True))
    assert apart < 1e-10, f"the implementations differ by {apart}"
    plain.float().train()
    ours.float().train()
    return apart


def time_cube(options: argparse.Namespace) -> dict[str, Any]:
    """Time the cube at each number of frames."""
    return {f"T={frames}": _time_frames(frames, options) for frames in options.frames}


def _time_frames(frames: int, options: argparse.Namespace) -> dict[str, Any]:
    config = CubeMLPConfig((LENGTH, 3, 128), dropouts=(options.dropout,) * 3)
    with seeded_globally(0, "weights"):
        plain = PlainCube(config)
    ours = load_released_state_dict(CubeMLP(config), plain.state_dict())
    generator = torch_generator(0, "cube")
    x = torch.randn(BATCH, frames, 3, 128, generator=generator).requires_grad_()
    direction = torch.randn(BATCH, *config.d_outs[-1], generator=generator)
    apart = check(plain, ours, x, direction)
    ways = {PLAIN: step(plain, plain, x, direction), "ours": step(ours, ours, x, direction)}
    if not options.eager:
        torch.compiler.reset()
        for name, model in ((f"{PLAIN}, compiled", plain), ("ours, compiled", ours)):
            ways[name] = step(model, torch.compile(model, fullgraph=True), x, direction)
    return {"relative difference": apart, **summary(measure(ways, options.rounds))}


def measure(ways: dict[str, Way], rounds: int) -> dict[str, list[float]]:
    """Time all ways in turns, after two rounds that do not count; give the processor seconds of each round."""
    names = list(ways)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-2, rounds):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            begin = time.process_time()
            ways[name]()
            if turn >= 0:
                seconds[name].append(time.process_time() - begin)
    return seconds


def summary(
    seconds: dict[str, list[float]], plain: str = PLAIN, goals: Mapping[str, float] = MappingProxyType(GOALS)
) -> dict[str, Any]:
    """Give medians and ranges of milliseconds, and of the ratios to one of the ways."""
    spread = lambda values: {"median": statistics.median(values), "range": [min(values), max(values)]}
    ratios = {
        name: [theirs / own for theirs, own in zip(seconds[plain], values, strict=True)]
        for name, values in seconds.items()
        if name != plain
    }
    return {
        "milliseconds": {name: spread([1000 * it for it in values]) for name, values in seconds.items()},
        "times as fast": {name: {**spread(it), "goal": goals.get(name)} for name, it in ratios.items()},
    }


def encoders() -> dict[str, PreTrainedModel]:
    """Give the packaged encoder, and one of the size of BERT-base with random weights."""
    with seeded_globally(0, "encoder"):
        drawn = BertModel(BertConfig())
    return {"MiniLM": open_text_encoder(OFFLINE, extra="fusion"), "BERT-base": drawn}


def make_model(encoder: PreTrainedModel, *, frozen: int, freeze_embeddings: bool) -> CubeMLPForPrediction:
    """Put the published model on an encoder, without dropout anywhere; the new weights are the same each time."""
    encoder = copy.deepcopy(encoder)
    encoder.config.update({"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0})
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    sizes = {"text": encoder.config.hidden_size, "audio": 74, "video": 47}  # of the features of the MOSI recipe
    config = CubeMLPConfig(
        streams=[Stream(name=name, size=size, text=name == "text", dropout=0.0) for name, size in sizes.items()],
        text_encoder=encoder.config,
        frozen_layers=frozen,
        freeze_embeddings=freeze_embeddings,
        dropouts=(0.0, 0.0, 0.0),
    )
    with seeded_globally(0, "weights"):
        return CubeMLPForPrediction(config, encoder).train()


def draw_batch(vocabulary: int) -> dict[str, Any]:
    """Draw utterances of 10 to 25 pieces, and as many frames of audio and video."""
    generator = torch_generator(0, "utterances")
    lengths = torch.randint(10, PIECES + 1, (UTTERANCES,), generator=generator)
    lengths[0] = PIECES
    mask = (torch.arange(PIECES) < lengths[:, None]).long()
    return {
        "features": {
            name: torch.randn(UTTERANCES, PIECES, size, generator=generator)
            for name, size in (("audio", 74), ("video", 47))
        },
        "lengths": {"audio": lengths, "video": lengths},
        "input_ids": torch.randint(1000, vocabulary, (UTTERANCES, PIECES), generator=generator) * mask,
        "attention_mask": mask,
        "word_ids": torch.arange(PIECES) * mask + mask - 1,
        "labels": 3 * torch.randn(UTTERANCES, generator=generator),
    }


def update(model: CubeMLPForPrediction, batch: dict[str, Any], losses: list[float]) -> Way:
    """Give a function that makes one step of training, and notes the loss."""
    recipe = Recipe()
    optimizer = torch.optim.AdamW(parameter_groups(model, recipe))

    def run() -> None:
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        nn.utils.clip_grad_value_(model.parameters(), recipe.clip)
        optimizer.step()
        losses.append(float(loss.detach()))

    return run


def time_pipeline(options: argparse.Namespace) -> dict[str, Any]:
    """Time steps of training with most layers of each encoder frozen, and with all of them."""
    cases: dict[str, Any] = {}
    for name, encoder in encoders().items():
        count = encoder.config.num_hidden_layers
        for frozen in (count * 3 // 4 + (count == 6), -1):  # 9 of 12, 5 of 6
            told = "all" if frozen == -1 else f"{frozen} of {count}"
            cases |= _time_steps(f"{name}, {told} frozen", encoder, frozen, options.rounds)
    return cases


def _time_steps(case: str, encoder: PreTrainedModel, frozen: int, rounds: int) -> dict[str, Any]:
    batch = draw_batch(encoder.config.vocab_size)
    models = {name: make_model(encoder, frozen=frozen, freeze_embeddings=name != "released") for name in STEPS}
    states = models["cached"].text.text_states(batch["input_ids"], batch["attention_mask"])
    kept = {name: it for name, it in batch.items() if name != "input_ids"} | {"text_states": states}
    losses: dict[str, list[float]] = {name: [] for name in STEPS}
    ways = {name: update(models[name], kept if name == "cached" else batch, losses[name]) for name in STEPS}
    seconds = measure(ways, rounds)
    apart = [abs(one - other) for one, other in zip(losses["cached"], losses["uncached"], strict=True)]
    apart.append(abs(losses["cached"][0] - losses["released"][0]))
    assert max(apart) < 1e-5, f"the losses differ by {max(apart)}"
    goals = {"cached": CACHED_GOAL}
    against = {name: {it: seconds[it] for it in ("cached", name)} for name in ("uncached", "released")}
    return {
        f"{case}, against {name}": {"difference of losses": max(apart), **summary(pair, name, goals)}
        for name, pair in against.items()
    }


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {"cube": time_cube, "pipeline": time_pipeline}


def parse() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--part", choices=list(PARTS), nargs="+", default=list(PARTS))
    parser.add_argument("--frames", type=int, nargs="+", default=[25, LENGTH], help=f"of {LENGTH}, that are not zero")
    parser.add_argument("--dropout", type=float, default=0.1, help="rate of all mixers")
    parser.add_argument("--eager", action="store_true", help="leave torch.compile out")
    parser.add_argument("--rounds", type=int, default=15, help="at least 5 for a median that says something")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    return parser.parse_args()


def lines(part: str, results: dict[str, Any]) -> list[str]:
    """Say what was found, a line for each way."""
    found: list[str] = []
    for case, result in results.items():
        for name, it in result["milliseconds"].items():
            ratio = result["times as fast"].get(name)
            told = f", {ratio['median']:.2f}x ({ratio['range'][0]:.2f} to {ratio['range'][1]:.2f})" if ratio else ""
            found.append(f"{part} {case} {name}: {it['median']:.1f} ms{told}")
    return found


def main() -> None:
    """Measure and print."""
    options = parse()
    torch.set_num_threads(1)
    results = {part: PARTS[part](options) for part in options.part}
    if options.json:
        print(json.dumps({"environment": this_run(), **vars(options), **results}, indent=2))
    else:
        print("\n".join(line for part, result in results.items() for line in lines(part, result)))


if __name__ == "__main__":
    main()
