"""HyPe beside peft and NEFTune."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import BertForSequenceClassification, Trainer, TrainingArguments

from modicum.perturb import HyPe, HyPeCallback, HyPeConfig

peft = pytest.importorskip("peft")
# peft asks transformers for a name that is about to change.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
Batch = dict[str, Tensor]


# HYPE-C13
def test_a_model_with_adapters_and_a_frozen_base_gets_noise(bert: BertForSequenceClassification, batch: Batch) -> None:
    adapters = peft.LoraConfig(r=2, target_modules=["query"], task_type="SEQ_CLS", init_lora_weights=False)
    model = peft.get_peft_model(bert, adapters).train()
    clean = model.eval()(**batch).logits
    with HyPe(model.train(), HyPeConfig(sigma=0.1)) as hype:
        assert len(hype.sites) == 3
        output = model(**batch)
        assert not torch.allclose(output.logits, clean, atol=1e-3)
        assert not torch.equal(output.logits, model(**batch).logits)
        output.loss.backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained
    assert all("lora_" in name or "classifier" in name for name in trained)


# HYPE-C13
def test_a_model_that_gets_adapters_after_it_is_attached_keeps_its_noise(
    bert: BertForSequenceClassification, batch: Batch
) -> None:
    with HyPe(bert, HyPeConfig(sigma=0.1)) as hype:
        adapters = peft.LoraConfig(r=2, target_modules=["query"], task_type="SEQ_CLS")
        model = peft.get_peft_model(bert, adapters).train()
        first, second = model(**batch).logits, model(**batch).logits
        assert hype.position == (0, 2)
    assert not torch.equal(first, second)


# HYPE-C13
def test_neftune_and_hype_stack(bert: BertForSequenceClassification, batch: Batch, tmp_path: Path) -> None:
    seen: dict[str, list[Tensor]] = {"embedded": [], "given": [], "entered": []}
    table, layer = bert.bert.embeddings.word_embeddings, bert.bert.encoder.layer[0]
    layer.register_forward_pre_hook(lambda module, args: seen["given"].append(args[0].detach()))

    class Record(HyPeCallback):
        def on_train_begin(self, *args: object, **kwargs: object) -> None:
            super().on_train_begin(*args, **kwargs)  # pyright: ignore[reportArgumentType]
            layer.register_forward_pre_hook(lambda module, args: seen["entered"].append(args[0].detach()))
            table.register_forward_hook(
                lambda module, args, output: seen["embedded"].append(
                    (output - module.get_parameter("weight")[args[0]]).detach()
                )
            )

    rows = [{name: value[index] for name, value in batch.items()} for index in range(6)]
    arguments = TrainingArguments(
        str(tmp_path),
        max_steps=1,
        per_device_train_batch_size=6,
        neftune_noise_alpha=5,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
        dataloader_pin_memory=False,
    )
    callback = Record(HyPeConfig(sigma=0.1))
    Trainer(bert, arguments, train_dataset=rows, callbacks=[callback]).train()  # pyright: ignore[reportArgumentType]
    limit = 5 / (9 * 16) ** 0.5
    assert 0.5 * limit < seen["embedded"][-1].abs().max() <= limit * (1 + 1e-5)
    assert (seen["entered"][-1] - seen["given"][-1]).std().item() == pytest.approx(0.1, rel=0.1)
