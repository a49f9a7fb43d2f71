"""A trained encoder as an ONNX file, and how far what onnxruntime computes is from it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modicum.core.extras import require
from modicum.core.files import new_folder
from modicum.core.quiet import quiet_transformers
from modicum.errors import ConfigError
from modicum.sarcasm.encoder.batches import Row, budget_batches, encode, pad, padding_of
from modicum.sarcasm.encoder.model import EncoderModel

FLOAT_FILE, INT8_FILE = "model.onnx", "model.int8.onnx"
_OUTPUTS = ("sarcastic", "categories", "rank")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportReport:
    """What was written, and how near it is."""

    texts: int  # that were compared
    difference: float  # largest difference between onnxruntime's logits and torch's
    int8_difference: float | None = None  # likewise of the int8 file; None if none was asked for
    int8_agreement: float | None = None  # share of texts to which int8 gives the same label
    int8_written: bool = False  # whether that share was large enough

    def __str__(self) -> str:
        said = f"{FLOAT_FILE}: logits of {self.texts} texts differ by at most {self.difference:.2g}."
        if self.int8_agreement is None:
            return said
        verdict = "written" if self.int8_written else "not written, since too many differ"
        return f"{said} {INT8_FILE}: {self.int8_agreement:.2%} of labels agree; {verdict}."


def export_onnx(
    model: EncoderModel,
    folder: Path,
    texts: Sequence[str],
    *,
    int8: bool = False,
    threshold: float = 0.0,
    least_agreement: float = 0.99,
) -> ExportReport:
    """Write a model for onnxruntime, with its tokenizer, to a new folder; batch and length are free."""
    # With ``int8`` a second file has weights in 8 bits and quantizes activations as they come. That is not free: it is
    # written only where enough labels stay the same on the texts given here, which should be like those it will read.
    for module in ("onnx", "onnxscript", "onnxruntime"):
        require(module, extra="quantize", purpose="Exporting to ONNX")
    if not texts:
        raise ConfigError("There is no text to compare the exported model on.", hint="Give some that it will read.")
    batches = _batches(model, encode(model.tokenizer, list(texts), length=model.length))
    wanted = _torch(model, batches)
    with new_folder(folder) as part:
        _write(model, part / FLOAT_FILE, batches[0])
        with quiet_transformers():
            model.model.config.save_pretrained(part)
        model.tokenizer.save_pretrained(part)
        difference = _difference(_onnxruntime(part / FLOAT_FILE, batches), wanted)
        if not int8:
            return ExportReport(texts=len(texts), difference=difference)
        _quantize(part)
        found = _onnxruntime(part / INT8_FILE, batches)
        agreement = float(np.mean((found[:, 0] > threshold) == (wanted[:, 0] > threshold)))
        if agreement < least_agreement:
            (part / INT8_FILE).unlink()
    return ExportReport(
        texts=len(texts),
        difference=difference,
        int8_difference=_difference(found, wanted),
        int8_agreement=agreement,
        int8_written=agreement >= least_agreement,
    )


class _Traced(nn.Module):
    # The exporter wants a tuple, and arguments by place.
    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        outputs = self.model(**dict(zip(self.names, inputs, strict=True)))
        return outputs.sarcastic, outputs.categories, outputs.rank


def _batches(model: EncoderModel, rows: Sequence[Row]) -> list[dict[str, Tensor]]:
    padding = padding_of(model.tokenizer)
    groups = budget_batches([len(row["input_ids"]) for row in rows], model.budget)
    return [pad([rows[place] for place in places], padding) for places in groups]


def _write(model: EncoderModel, path: Path, batch: dict[str, Tensor]) -> None:
    # Two rows: a batch of one would be taken for a constant.
    sample = {name: tensor[:1].expand(2, -1).contiguous() for name, tensor in batch.items()}
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with _quiet_exporter():
        torch.onnx.export(
            _Traced(model.model, list(sample)).eval(),
            tuple(tensor.to(model.model.device) for tensor in sample.values()),
            str(path),
            input_names=list(sample),
            output_names=list(_OUTPUTS),
            dynamic_shapes=(tuple(free for _ in sample),),
            dynamo=True,
            verbose=False,
        )


@contextmanager
def _quiet_exporter() -> Generator[None]:
    # It warns of its own deprecations and, at each export, of torchvision, which no text needs.
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _quantize(folder: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    model = onnx.load(folder / FLOAT_FILE)
    add_pre_process_metadata(model)  # torch's exporter has folded constants and inferred shapes already
    quantize_dynamic(model, folder / INT8_FILE, per_channel=True, weight_type=QuantType.QInt8)


def _onnxruntime(path: Path, batches: Sequence[dict[str, Tensor]]) -> np.ndarray:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    found: list[Any] = [session.run(None, {name: it.numpy() for name, it in batch.items()}) for batch in batches]
    return np.concatenate([_columns(*outputs) for outputs in found])


@torch.inference_mode()
def _torch(model: EncoderModel, batches: Sequence[dict[str, Tensor]]) -> np.ndarray:
    found = [model.model(**{name: it.to(model.model.device) for name, it in batch.items()}) for batch in batches]
    return np.concatenate([_columns(*(it[name].cpu().numpy() for name in _OUTPUTS)) for it in found])


def _columns(sarcastic: np.ndarray, categories: np.ndarray, rank: np.ndarray) -> np.ndarray:
    return np.column_stack((sarcastic, categories, rank))


def _difference(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max())
