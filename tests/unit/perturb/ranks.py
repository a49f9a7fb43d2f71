"""What each of two ranks runs: a module without transformers, which a new process need not import."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from modicum.perturb import HyPe, HyPeConfig

CONFIG = HyPeConfig(sigma=0.05)


class Regressor(nn.Module):
    """Three Transformer layers and a linear one; gives the loss."""

    def __init__(self) -> None:
        super().__init__()
        kind = {"d_model": 16, "nhead": 2, "dim_feedforward": 32, "batch_first": True}
        self.layers = nn.ModuleList([nn.TransformerEncoderLayer(**kind) for _ in range(3)])
        self.head = nn.Linear(16, 1)

    def forward(self, hidden: Tensor, labels: Tensor) -> Tensor:
        for layer in self.layers:
            hidden = layer(hidden)
        return (self.head(hidden.mean(1)).squeeze(1) - labels).square().mean()


def gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def work(rank: int, folder: str, model: Regressor, batch: dict[str, Tensor]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    parallel = nn.parallel.DistributedDataParallel(model)
    mine = {name: value.chunk(2)[rank] for name, value in batch.items()}
    with HyPe(parallel, CONFIG):
        parallel(**mine).backward()
    if rank == 0:
        torch.save(gradients(model), Path(folder) / "gradients.pt")
    # Not by destroy_process_group: freeing the parallel model then waits, with the interpreter locked, for a thread
    # of gloo that may need that lock to end.
    os._exit(0)
