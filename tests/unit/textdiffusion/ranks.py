"""What each of two ranks runs."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from modicum.textdiffusion import SeqDiffuSeqConfig, SeqDiffuSeqForConditionalGeneration

SMALL = {
    "vocab_size": 12,
    "embedding_dim": 8,
    "d_model": 16,
    "attention_heads": 2,
    "ffn_dim": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "max_position_embeddings": 8,
    "source_length": 6,
    "target_length": 5,
    "num_steps": 40,
    "bins": 10,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
}
PASSES = 3


def build() -> SeqDiffuSeqForConditionalGeneration:
    torch.default_generator.manual_seed(0)
    return SeqDiffuSeqForConditionalGeneration(SeqDiffuSeqConfig(**SMALL))


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(3, 12, (8, 5), generator=generator)
    labels[::2, 3:] = 1
    return {"input_ids": torch.randint(3, 12, (8, 6), generator=generator), "labels": labels}


def draws(rank: int, number: int) -> torch.Generator:
    return torch.Generator().manual_seed(100 * rank + number)


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    model = build()
    parallel = nn.parallel.DistributedDataParallel(model)
    mine = {name: rows.chunk(2)[rank] for name, rows in batch().items()}
    for number in range(PASSES):
        parallel(**mine, generator=draws(rank, number)).loss.backward()
    model.schedule.update()
    torch.save(model.schedule.alphas_cumprod, Path(folder) / f"{rank}.pt")
    torch.distributed.barrier()
    # Not by destroy_process_group, which may wait for a thread of gloo, see tests/unit/perturb/ranks.py.
    os._exit(0)
