# pyright: reportUnknownMemberType=false
"""Scores of label words by masked-LM and seq2seq models: a text is encoded once, and only label rows are multiplied.

Label rows and sums over the vocabulary are in float32, whatever the model computes in: in bfloat16 half of the scores
of a weak model tie.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from modicum.core.extras import require
from modicum.core.pretrained import open_part, open_tokenizer, token_limit
from modicum.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from modicum.zeroshot.task import Task

WordRoute: TypeAlias = Literal["mlm", "seq2seq"]
Ids: TypeAlias = list[list[int]]  # of each label, the tokens of its word
State: TypeAlias = tuple[Tensor, ...]  # what is computed once a text; the rows of all parts are the texts

FIRST, SECOND = "<extra_id_0>", "<extra_id_1>"  # in place of the label word; what ends it in the target
_ROWS = 512  # of the decoder at once


def head_input(model: Any, **inputs: Any) -> tuple[Tensor, Any]:
    """Run a model up to its output embedding, and give what enters it, (B, L, D), and the output of the model."""
    taken: list[Tensor] = []

    def keep(_: object, entered: tuple[Tensor, ...]) -> tuple[Tensor]:
        taken.append(entered[0])
        return (entered[0][:1, :1],)  # the vocabulary is multiplied for one token in place of all

    handle = model.get_output_embeddings().register_forward_pre_hook(keep)
    try:
        output = model(**inputs)
    finally:
        handle.remove()
    return taken[0], output


def head_logits(model: Any, hidden: Tensor, rows: Tensor | None = None) -> Tensor:
    """Multiply what enters the output embedding, (..., D), by some rows of it, or all, in float32: (..., rows)."""
    head = model.get_output_embeddings()
    every = slice(None) if rows is None else rows
    with torch.autocast(hidden.device.type, enabled=False):
        logits = linear(hidden.float(), head.weight[every].float())
        for bias in (getattr(head, "bias", None), getattr(model, "final_logits_bias", None)):  # the second: BART's
            logits = logits if bias is None else logits + bias.flatten()[every].float()
    return logits


def sequence_scores(
    model: Any, encoded: Tensor, mask: Tensor, labels: Sequence[Sequence[int]], *, normalised: bool = True
) -> Tensor:
    """Give log p(label | text), summed over its tokens, for encoded texts (B, L, D) and their mask (B, L): (B, K)."""
    # The labels are a trie: the decoder sees each prefix once, and the keys and values of the cross-attention are
    # computed once a text. Without ``normalised``, labels of one token after a common prefix keep an unknown constant a
    # text, which a softmax over the labels does not see, and the vocabulary is not multiplied.
    transformers = require("transformers", extra="text", purpose="A seq2seq model")
    count, shared = len(encoded), common_prefix(labels)
    normalised = normalised or max(map(len, labels)) > len(shared) + 1
    cache: Any = transformers.EncoderDecoderCache(transformers.DynamicCache(), transformers.DynamicCache())
    start = torch.tensor([[model.config.decoder_start_token_id, *shared]], device=encoded.device)
    hidden = _decode(model, start.expand(count, -1), encoded, mask, cache)
    total = encoded.new_zeros((count, len(labels)), dtype=torch.float32)
    if normalised and shared:
        every = head_logits(model, hidden[:, :-1]).log_softmax(-1)
        total = total + every.gather(2, start[:, 1:, None].expand(count, -1, 1)).sum((1, 2))[:, None]
    nodes, depth = [tuple(shared)], len(shared)
    hidden = hidden[:, None, -1]
    while True:
        edges = sorted({tuple(label[: depth + 1]) for label in labels if len(label) > depth})
        tokens = torch.tensor([edge[-1] for edge in edges], device=encoded.device)
        parents = torch.tensor([nodes.index(edge[:-1]) for edge in edges], device=encoded.device)
        logits = head_logits(model, hidden, tokens)[:, parents, torch.arange(len(edges), device=encoded.device)]
        if normalised:
            logits = logits - head_logits(model, hidden).logsumexp(-1)[:, parents]
        reached = [label for label, ids in enumerate(labels) if len(ids) > depth]
        of = torch.tensor([edges.index(tuple(labels[label][: depth + 1])) for label in reached], device=encoded.device)
        total = total.index_add(1, torch.tensor(reached, device=encoded.device), logits[:, of])
        depth += 1
        inner = [edge for edge in edges if any(len(ids) > depth and tuple(ids[:depth]) == edge for ids in labels)]
        if not inner:
            return total
        chosen = torch.tensor([edges.index(edge) for edge in inner], device=encoded.device)
        rows = (torch.arange(count, device=encoded.device)[:, None] * len(nodes) + parents[chosen]).flatten()
        cache.batch_select_indices(rows)
        repeats = len(inner)
        step = tokens[chosen].repeat(count)[:, None]
        wide = (encoded.repeat_interleave(repeats, 0), mask.repeat_interleave(repeats, 0))
        hidden = _decode(model, step, *wide, cache)[:, -1].unflatten(0, (count, repeats))
        nodes = inner


def common_prefix(labels: Sequence[Sequence[int]]) -> list[int]:
    """Give the tokens that all labels begin with, so that each has one more at least."""
    shortest = min(map(len, labels)) - 1
    first = labels[0]
    end = next((at for at in range(shortest) if len({label[at] for label in labels}) > 1), shortest)
    return list(first[:end])


def _decode(model: Any, tokens: Tensor, encoded: Tensor, mask: Tensor, cache: Any) -> Tensor:
    # The argument was renamed after transformers 5.0, and the old name warns.
    name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
    given: dict[str, Any] = {"encoder_outputs": (encoded,), "attention_mask": mask, "decoder_input_ids": tokens}
    return head_input(model, **given, **{name: cache}, use_cache=True)[0]


class _Words:
    """A model that predicts label words in place of a mask, with its tokenizer."""

    auto: ClassVar[str]
    mask: str

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        if model.get_output_embeddings() is None:
            raise ModelError(
                f"{type(model).__name__} has no output embedding, so that it predicts no words.",
                hint='Use a masked LM or a T5-style model, or route="encoder".',
            )

    def pieces(self, word: str, *, before: str = "") -> list[int]:
        """Give the tokens of a word, all of them known."""
        ids = list(self.tokenizer(before + word, add_special_tokens=False)["input_ids"])
        if not ids or self.tokenizer.unk_token_id in ids:
            raise ConfigError(
                f"The label word {word!r} is not in the vocabulary of the model.",
                hint="Give the label another word in its verbalizer.",
            )
        return ids

    def inputs(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Tokenise texts as one padded batch, on the device of the model."""
        batch = self.tokenizer(list(texts), padding=True, return_tensors="pt", verbose=False)
        return {name: tensor.to(self.model.device) for name, tensor in batch.items()}

    def prompt(self, template: str, text: str) -> str:
        """Put a text into a template; a mask of its own would be a second one."""
        return template.replace("{mask}", self.mask).replace("{text}", text.replace(self.mask, " "))


class MaskedWords(_Words):
    """A masked LM: label rows of the output embedding at the mask; several tokens of a word count by their mean."""

    auto = "AutoModelForMaskedLM"

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(model, tokenizer)
        if tokenizer.mask_token is None:
            raise ModelError("The tokenizer has no mask token.", hint="Use the tokenizer of a masked LM.")
        self.mask = tokenizer.mask_token

    def label_ids(self, words: Sequence[str]) -> Ids:
        """Give the tokens of each word as it stands within a sentence."""
        return [self.pieces(word, before=" ") for word in words]

    def targets(self, words: Sequence[str]) -> Ids:
        """Give the tokens of each word."""
        return self.label_ids(words)

    def encode(self, inputs: dict[str, Tensor]) -> State:
        """Give what enters the output embedding at the mask, (B, D)."""
        hidden, _ = head_input(self.model, **inputs)
        masks = inputs["input_ids"] == self.tokenizer.mask_token_id
        return (hidden[torch.arange(len(hidden), device=hidden.device), masks.int().argmax(1)],)

    def label_scores(self, state: State, ids: Ids) -> Tensor:
        """Average the logits of each label's tokens, (B, K)."""
        flat = torch.tensor([token for label in ids for token in label], device=state[0].device)
        logits = head_logits(self.model, state[0], flat)
        return torch.stack([part.mean(-1) for part in logits.split([len(label) for label in ids], dim=-1)], dim=-1)

    def span_loss(self, state: State, targets: Ids) -> Tensor:
        """Average over the tokens of the word, too."""
        every = head_logits(self.model, state[0]).log_softmax(-1)
        return -torch.stack([row[ids].mean() for row, ids in zip(every, targets, strict=True)]).mean()


class SpanWords(_Words):
    """A T5-style model: the label word is what follows the first sentinel in the target."""

    auto = "AutoModelForSeq2SeqLM"
    mask = FIRST

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(model, tokenizer)
        if getattr(model.config, "decoder_start_token_id", None) is None:  # transformers 5 has no default for T5
            model.config.decoder_start_token_id = tokenizer.pad_token_id
        self.first, self.second = tokenizer.convert_tokens_to_ids([FIRST, SECOND])  # by name: orders differ
        if {self.first, self.second} & {None, tokenizer.unk_token_id}:
            raise ModelError(
                f"The tokenizer has no sentinels {FIRST} and {SECOND}.", hint="Use a T5-style model with its tokenizer."
            )

    def label_ids(self, words: Sequence[str]) -> Ids:
        """Give the first sentinel and the tokens of each word, and the second if a label begins another."""
        # Log-probabilities are summed, not divided by the length, so that a label that begins another would always win.
        labels = [[self.first, *self.pieces(word)] for word in words]
        if any(one != other and other[: len(one)] == one for one in labels for other in labels):
            return [[*label, self.second] for label in labels]
        return labels

    def targets(self, words: Sequence[str]) -> Ids:
        """Give the word between both sentinels, and the end."""
        end = self.tokenizer.eos_token_id
        return [[self.first, *self.pieces(word), self.second, end] for word in words]

    def encode(self, inputs: dict[str, Tensor]) -> State:
        """Run the encoder: its states and the mask."""
        mask = inputs["attention_mask"]
        return self.model.get_encoder()(input_ids=inputs["input_ids"], attention_mask=mask)[0], mask

    def label_scores(self, state: State, ids: Ids, *, normalised: bool = False) -> Tensor:
        """Sum the log-probabilities of each label's tokens, (B, K), as `sequence_scores`."""
        size = max(1, _ROWS // len(ids))
        parts = zip(state[0].split(size), state[1].split(size), strict=True)
        return torch.cat([sequence_scores(self.model, *part, ids, normalised=normalised) for part in parts])

    def span_loss(self, state: State, targets: Ids) -> Tensor:
        """Take the loss of the model on target sequences."""
        longest = max(map(len, targets))
        padded = torch.tensor([ids + [-100] * (longest - len(ids)) for ids in targets], device=state[0].device)
        return self.model(encoder_outputs=(state[0],), attention_mask=state[1], labels=padded).loss


WordModel: TypeAlias = MaskedWords | SpanWords
WORD_MODELS: dict[WordRoute, type[WordModel]] = {"mlm": MaskedWords, "seq2seq": SpanWords}


def open_word_model(model: str, route: WordRoute) -> WordModel:
    """Open a masked LM or a seq2seq model by hub id or folder, in float32."""
    kind = WORD_MODELS[route]
    if route == "seq2seq" and not open_part("AutoConfig", model, extra="text").is_encoder_decoder:
        raise ModelError(f"{model!r} is no sequence-to-sequence model.", hint='Use one such as T5, or route="encoder".')
    opened, found = open_part(kind.auto, model, extra="text", dtype="float32", output_loading_info=True)
    if missing := sorted(found["missing_keys"]):  # transformers would draw them at random
        raise ModelError(
            f"{model!r} has no head that predicts words: {missing[0]} is missing.",
            hint='Use a masked LM or a T5-style model, or route="encoder".',
        )
    return kind(opened, open_tokenizer(model))


class WordPredictor:
    """Scores of a task's labels by the words of a model: the mean over templates and over the chunks of a long text."""

    def __init__(self, words: WordModel, task: Task, *, length: int = 64, batch: int = 64) -> None:
        self.words, self.task, self.length, self.batch = words, task, length, batch
        self.templates = task.mask_templates
        self.ids = words.label_ids(label_words(task))
        longest = max(len(words.tokenizer(words.prompt(template, ""))["input_ids"]) for template in self.templates)
        if length > (limit := token_limit(words.model.base_model, words.tokenizer)):
            raise ConfigError(f"chunk is {length}, but the model takes {limit} tokens.", hint=f"Give {limit} at most.")
        self.room = length - longest
        if self.room < 1:
            raise ConfigError(
                f"A template has {longest} tokens, and length {length} leaves none for the text.",
                hint="Raise length, or shorten the template.",
            )

    def scores(self, texts: Sequence[str]) -> Tensor:
        """Score the labels of the task: (N, K), float32, on the CPU."""
        return self._scores(texts, self.ids)

    def name_scores(self, texts: Sequence[str], names: Sequence[str]) -> Tensor:
        """Score any labels: those of the task by their words, others by their names."""
        known = dict(zip(self.task.labels, label_words(self.task), strict=True))
        return self._scores(texts, self.words.label_ids([known.get(name, name) for name in names]))

    @torch.inference_mode()
    def _scores(self, texts: Sequence[str], ids: Ids) -> Tensor:
        self.words.model.eval()
        chunks, owner = split_long(self.words.tokenizer, texts, self.room)
        total = torch.zeros(len(chunks), len(ids))
        for template in self.templates:
            prompts = [self.words.prompt(template, chunk) for chunk in chunks]
            for rows in _batches(prompts, self.batch):
                state = self.words.encode(self.words.inputs([prompts[row] for row in rows]))
                total[rows] += self.words.label_scores(state, ids).cpu()
        return mean_of_chunks(total / len(self.templates), owner, len(texts))


def label_words(task: Task) -> list[str]:
    """Give the word of each label: the first of its verbalizer."""
    return [task.verbalizer[label][0] for label in task.labels]


def split_long(tokenizer: Any, texts: Sequence[str], room: int) -> tuple[list[str], Tensor]:
    """Cut texts between words into chunks of like length that have about so many tokens, and give each one's text."""
    chunks: list[str] = []
    owner: list[int] = []
    for row, text in enumerate(texts):
        parts = [text] if len(text.encode()) <= room else _cut(tokenizer, text, room)
        chunks += parts
        owner += [row] * len(parts)
    return chunks, torch.tensor(owner, dtype=torch.long)


def _cut(tokenizer: Any, text: str, room: int) -> list[str]:
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    starts = [first for first, _ in offsets]
    count = -(-len(starts) // room)
    if count <= 1:
        return [text]
    # Equal parts: a last chunk of one word would weigh as much as the others. A part begins where a word does.
    words = [first for first in starts if first == 0 or text[first].isspace() or text[first - 1].isspace()]
    ends = {starts[len(starts) * part // count] for part in range(1, count)}
    cuts = sorted({max((first for first in words if first <= end), default=end) or end for end in ends})
    return [part for one, two in zip([0, *cuts], [*cuts, len(text)], strict=True) if (part := text[one:two].strip())]


def mean_of_chunks(scores: Tensor, owner: Tensor, count: int) -> Tensor:
    """Average the scores of chunks, (C, K), over each of so many texts: (N, K)."""
    sums = scores.new_zeros((count, scores.shape[1])).index_add_(0, owner, scores)
    return sums / torch.bincount(owner, minlength=count)[:, None]


def _batches(prompts: Sequence[str], size: int) -> Iterator[Tensor]:
    order = torch.from_numpy(np.argsort([len(prompt) for prompt in prompts], kind="stable"))
    yield from order.split(size)
