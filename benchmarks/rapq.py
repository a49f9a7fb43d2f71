"""Time RAPQ: scale search, quantization, and the integer engine against onnxruntime; count what must be equal.

Run: python benchmarks/rapq.py [--part scales quantize engine] [--json]

scales: the published search, channel after channel, against ours, on the layers of the network and on --large; the
results must be equal bit for bit. quantize: the time from the float network to the quantized one ("hessian"), and the
size of its file. engine: latency at batch 1 and one thread of onnxruntime in float and as int8
(quantize_static, QDQ, per channel, the same calibration images) and of our engine, in turns; then the logits of all
--images test images must be equal between simulation, C and (on the first 200) int64 numpy, at two batch sizes
and two numbers of threads. Data: the catalogue's cifar10-jpeg and ResNet-20, or nips2017-224 for efficientnet-lite0.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modicum.core.environment import this_run
from modicum.core.method import Job
from modicum.quantize.comparison import METHOD, Problem, setup
from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.doors import PUBLIC, RESNET20
from modicum.quantize.engine.engine import Backend, Engine
from modicum.quantize.engine.program import lower
from modicum.quantize.graph.graph import folded, in_pieces
from modicum.quantize.graph.trace import trace
from modicum.quantize.io.onnx import compare_onnx, export_onnx
from modicum.quantize.model import QuantizedModel
from modicum.quantize.quantizer import quantize
from modicum.quantize.scales import search_scales

PARTS = ("scales", "quantize", "engine")


def seconds(function: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def published_search(channel: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Search one channel step by step, as the specification tells of the released code."""
    best, scale, zero = float("inf"), torch.ones(()), torch.zeros(())
    for step in range(80):
        high, low = channel.max() * (1.0 - step * 0.01), channel.min() * (1.0 - step * 0.01)
        s = (high - low) / (2**bits - 1)
        z = torch.round(-low / s)
        codes = torch.clamp(torch.round(channel / s) + z, 0, 2**bits - 1)
        error = (channel - (codes - z) * s).abs().pow(2.4).mean()
        if error < best:
            best, scale, zero = float(error), s, z
    return scale, zero


def time_scales(posed: Problem, options: argparse.Namespace) -> dict[str, Any]:
    """Time the scale search of the network's layers and of one large layer."""
    graph = folded(trace(posed.network, posed.calibration[:2]))
    large = torch.randn(options.large, options.large, 3, 3, generator=torch.Generator().manual_seed(0)) * 0.02
    return {
        options.network: _scales([layer.weight for layer in graph.layers.values()], options.rounds),
        f"{options.large}x{options.large}x3x3": _scales([large], options.rounds),
    }


def _scales(weights: list[Tensor], rounds: int) -> dict[str, float]:
    mine: list[float] = []
    theirs: list[float] = []
    found: list[tuple[Tensor, Tensor]] = []
    loops: list[list[tuple[Tensor, Tensor]]] = []
    for _ in range(rounds):
        theirs.append(seconds(lambda: loops.__setitem__(slice(None), [_loop(it) for it in weights])))
        mine.append(seconds(lambda: found.__setitem__(slice(None), [search_scales(it, 2) for it in weights])))
    for (scale, zero), loop in zip(found, loops, strict=True):
        assert torch.equal(scale, torch.stack([it for it, _ in loop])), "the scales differ"
        assert torch.equal(zero, torch.stack([it for _, it in loop])), "the zero points differ"
    return {
        "loop": statistics.median(theirs),
        "ours": statistics.median(mine),
        "ratio": statistics.median(other / own for own, other in zip(mine, theirs, strict=True)),
    }


def _loop(weight: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [published_search(channel, 2) for channel in weight]


def time_quantize(posed: Problem, options: argparse.Namespace) -> tuple[QuantizedModel, dict[str, Any]]:
    """Time the quantization, and measure its file."""
    config = RAPQConfig(weight_bits=options.bits[0], activation_bits=options.bits[1])
    models: list[QuantizedModel] = []
    times = [
        seconds(lambda: models.append(quantize(posed.network, posed.calibration, config)))
        for _ in range(options.quantize_rounds)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.safetensors")
        models[0].save(path)
        size = path.stat().st_size
    threads = torch.get_num_threads()
    return models[0], {"seconds": statistics.median(times), "threads": threads, "file bytes": size}


def time_engine(posed: Problem, model: QuantizedModel, options: argparse.Namespace) -> dict[str, Any]:
    """Time the engine against onnxruntime, and compare all logits."""
    engine = Engine(lower(model))
    sample = posed.test[:1].numpy()
    with tempfile.TemporaryDirectory() as folder:
        real, whole = _sessions(posed, Path(folder))
        runs: dict[str, Callable[[], object]] = {
            "onnxruntime float": lambda: real.run(None, {"x": sample}),
            "onnxruntime int8": lambda: whole.run(None, {"x": sample}),
            "engine": lambda: engine.run(sample),
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(options.latency_rounds):
            for name, run in runs.items():
                run()
                times[name].append(seconds(run))
        path = Path(folder, "model.onnx")
        export_onnx(model, path)
        agreement = compare_onnx(model, path, posed.test[: options.images])
    ratios = [other / own for own, other in zip(times["engine"], times["onnxruntime int8"], strict=True)]
    return {
        "milliseconds": {name: 1000 * statistics.median(it) for name, it in times.items()},
        "ratio": statistics.median(ratios),
        "backend": engine.backend,
        "equality": _equal(posed, model, options),
        "onnxruntime on our file": {
            "equal, optimisations off": agreement.plain.equal,
            "equal, optimisations on": agreement.optimised.equal,
        },
    }


def _equal(posed: Problem, model: QuantizedModel, options: argparse.Namespace) -> dict[str, Any]:
    images = posed.test[: options.images]
    program = lower(model)
    with torch.inference_mode():
        simulated = torch.cat([model(part) for part in in_pieces(images)]).double().numpy()
    digest = hashlib.sha256(simulated.tobytes()).hexdigest()
    runs: tuple[tuple[Backend, int, int], ...] = (("c", 1000, 1), ("c", 77, 2))
    for backend, batch, threads in runs:
        engine = Engine(program, backend=backend, threads=threads)
        logits = np.concatenate([engine.run(part.numpy()) for part in images.split(batch)])
        found = hashlib.sha256(logits.tobytes()).hexdigest()
        assert found == digest, f"{backend}, batch {batch}, {threads} threads: logits differ"
    plain = Engine(program, backend="numpy").run(images[:200].numpy())
    assert np.array_equal(plain, simulated[:200]), "int64 numpy differs"
    accuracy = float((torch.from_numpy(simulated).argmax(1) == posed.labels[: options.images]).double().mean())
    return {"images": len(images), "sha256": digest, "accuracy": accuracy}


def _sessions(posed: Problem, folder: Path) -> tuple[Any, Any]:
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._batches = iter([{"x": it[None].numpy()} for it in posed.calibration[:64]])

        def get_next(self) -> dict[str, np.ndarray]:
            return next(self._batches, None)  # pyright: ignore[reportReturnType] - None is the end

    network: nn.Module = posed.network
    files = [str(folder / name) for name in ("float.onnx", "ready.onnx", "int8.onnx")]
    torch.onnx.export(network, (posed.calibration[:1],), files[0], dynamo=True, input_names=["x"], verbose=False)
    quant_pre_process(files[0], files[1])
    quantize_static(
        files[1],
        files[2],
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        extra_options={"WeightSymmetric": True},
    )
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(files[1], settings), onnxruntime.InferenceSession(files[2], settings)


def parse() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--part", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--network", choices=PUBLIC, default=RESNET20)
    parser.add_argument("--bits", type=int, nargs=2, default=(2, 4), help="of weights and of activations")
    parser.add_argument("--large", type=int, default=256, help="channels of the large layer of the scale search")
    parser.add_argument("--rounds", type=int, default=5, help="of the scale search")
    parser.add_argument("--quantize-rounds", type=int, default=3, help="of the quantization")
    parser.add_argument("--latency-rounds", type=int, default=200, help="of single images")
    parser.add_argument("--images", type=int, default=10_000, help="test images whose logits are compared")
    parser.add_argument("--calibration", type=int, default=256, help="training images for calibration")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = parse()
    settings = METHOD.comparison.settings_for("full", {"calibration": options.calibration, "network": options.network})
    posed = setup(Job(seed=0, budget="full", settings=settings))
    results: dict[str, Any] = {}
    if "scales" in options.part:
        results["scales"] = time_scales(posed, options)
    if "quantize" in options.part or "engine" in options.part:
        model, results["quantize"] = time_quantize(posed, options)
        if "engine" in options.part:
            results["engine"] = time_engine(posed, model, options)
    text = json.dumps({"environment": this_run(), **vars(options), **results}, indent=2)
    print(text if options.json else json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
