"""A trained encoder as an ONNX file, and how far what onnxruntime computes is from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from modicum.core.export import largest_difference, open_onnx, require_onnx, write_onnx
from modicum.core.extras import quiet_transformers
from modicum.core.files import new_folder
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
    require_onnx()
    if not texts:
        raise ConfigError("There is no text to compare the exported model on.", hint="Give some that it will read.")
    batches = _batches(model, encode(model.tokenizer, list(texts), length=model.length))
    traced = _Traced(model.model, list(batches[0])).eval()
    wanted = _outputs(traced, batches)
    # Two rows: a batch of one would be taken for a constant.
    sample = {name: tensor[:1].expand(2, -1).contiguous() for name, tensor in batches[0].items()}
    with new_folder(folder) as part:
        write_onnx(traced, sample, part / FLOAT_FILE, outputs=_OUTPUTS, one_file=False)
        with quiet_transformers():
            model.model.config.save_pretrained(part)
        model.tokenizer.save_pretrained(part)
        difference = largest_difference(_outputs(open_onnx(part / FLOAT_FILE), batches), wanted)
        if not int8:
            return ExportReport(texts=len(texts), difference=difference)
        _quantize(part)
        found = _outputs(open_onnx(part / INT8_FILE), batches)
        agreement = float(((found[:, 0] > threshold) == (wanted[:, 0] > threshold)).double().mean())
        if agreement < least_agreement:
            (part / INT8_FILE).unlink()
    return ExportReport(
        texts=len(texts),
        difference=difference,
        int8_difference=largest_difference(found, wanted),
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
    padding, device = padding_of(model.tokenizer), model.model.device
    groups = budget_batches([len(row["input_ids"]) for row in rows], model.budget)
    padded = (pad([rows[place] for place in places], padding) for places in groups)
    return [{name: tensor.to(device) for name, tensor in batch.items()} for batch in padded]


def _quantize(folder: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    model = onnx.load(folder / FLOAT_FILE)
    add_pre_process_metadata(model)  # torch's exporter has folded constants and inferred shapes already
    quantize_dynamic(model, folder / INT8_FILE, per_channel=True, weight_type=QuantType.QInt8)


@torch.inference_mode()
def _outputs(run: Callable[..., Sequence[Tensor]], batches: Sequence[dict[str, Tensor]]) -> Tensor:
    return torch.cat([torch.column_stack(tuple(run(*batch.values()))).cpu() for batch in batches])
