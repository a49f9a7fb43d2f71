"""Time the mixers of CubeMLP against a plain implementation, which permutes each axis to the end as published.

Run: python benchmarks/cubemlp.py [--part cube] [--frames 25 100] [--dropout 0.1] [--eager] [--json]

cube: forward and backward of the published MOSI cube (100 x 3 x 128, two blocks) on a batch of 32, in training mode and
on one thread. The plain implementation gets the cube padded to 100 frames, as published; ours gets the --frames that
there are. Both are timed as they are and through torch.compile, whose compilation (minutes, on one core) comes before.
The ways take turns within each round, in an order that rotates; a ratio is taken within its round, of processor seconds
of this process, so that time that other processes take is not counted. Before, outputs and gradients must agree in
float64. With --dropout 0 nothing is drawn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from modicum.core.seeding import seeded_globally, torch_generator
from modicum.fusion import CubeMLP, CubeMLPConfig
from modicum.fusion.released import load_released_state_dict

BATCH, LENGTH = 32, 100
TO_END = {"l": (0, 2, 3, 1), "k": (0, 1, 3, 2), "d": (0, 1, 2, 3)}
BACK = {"l": (0, 3, 1, 2), "k": (0, 1, 3, 2), "d": (0, 1, 2, 3)}
PLAIN = "plain"
GOALS = {"ours": 1.5, "ours, compiled": 3.0}
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


def summary(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Give medians and ranges of milliseconds, and of the ratios to the plain implementation as it is."""
    spread = lambda values: {"median": statistics.median(values), "range": [min(values), max(values)]}
    ratios = {
        name: [theirs / own for theirs, own in zip(seconds[PLAIN], values, strict=True)]
        for name, values in seconds.items()
        if name != PLAIN
    }
    return {
        "milliseconds": {name: spread([1000 * it for it in values]) for name, values in seconds.items()},
        "times as fast as plain": {name: {**spread(it), "goal": GOALS.get(name)} for name, it in ratios.items()},
    }


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {"cube": time_cube}


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
            ratio = result["times as fast as plain"].get(name)
            told = f", {ratio['median']:.2f}x ({ratio['range'][0]:.2f} to {ratio['range'][1]:.2f})" if ratio else ""
            found.append(f"{part} {case} {name}: {it['median']:.1f} ms{told}")
    return found


def main() -> None:
    """Measure and print."""
    options = parse()
    torch.set_num_threads(1)
    results = {part: PARTS[part](options) for part in options.part}
    if options.json:
        print(json.dumps({"torch": torch.__version__, **vars(options), **results}, indent=2))
    else:
        print("\n".join(line for part, result in results.items() for line in lines(part, result)))


if __name__ == "__main__":
    main()
