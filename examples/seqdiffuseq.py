"""Train a small text diffusion on past tenses of English verbs, and watch noise become a word.

Run: python examples/seqdiffuseq.py
The verbs are those of lemminflect's tables (pip install 'modicum[text]'), so nothing is downloaded. For pairs of yours
read_pairs("pairs.jsonl") takes the place of verbs().
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from modicum.textdiffusion import (
    PRESETS,
    SeqDiffuSeqForConditionalGeneration,
    configure,
    encode_pairs,
    generate_texts,
    score_texts,
    train,
    train_tokenizer,
)
from modicum.textdiffusion.tasks import verbs

STEPS = 200


def main() -> None:
    pairs = verbs()  # letters are the words here, with spaces between them
    learned, held = pairs[::2], pairs[1:200:2]
    tokenizer = train_tokenizer((text for pair in pairs for text in (pair.source, pair.target)), split="words")

    # 1. A network for these tokens: 7 for a source, 12 positions for a target.
    config = configure(
        tokenizer,
        embedding_dim=32,
        d_model=32,
        attention_heads=2,
        ffn_dim=96,
        encoder_layers=1,
        decoder_layers=1,
        init_std=0.1,  # narrow networks read their source sooner
        bins=10,  # of time in the learned schedule: few, since there are few steps
        dropout=0.0,
        source_length=7,
        target_length=12,
        max_position_embeddings=12,
    )
    model = SeqDiffuSeqForConditionalGeneration(config)

    # 2. Train it; the noise schedule of each position is learned meanwhile, and saved with the weights.
    recipe = replace(PRESETS["fast"], steps=STEPS, batch=64, rate=5e-3, warmup=20, schedule_every=STEPS // 10)
    done = train(model, encode_pairs(learned, tokenizer, config), recipe)
    print(f"{model.num_parameters():,} parameters, {done.updates} steps")

    # 3. Write: all letters at once, in 10 network calls.
    def watch(t: int, tokens: Tensor) -> None:
        text = tokenizer.decode(tokens[0].tolist())
        print(f"  {model.schedule.alphas_cumprod[t].mean():6.1%} signal  {text}")

    print(held[0].source)
    generate_texts(model, tokenizer, [held[0].source], num_inference_steps=10, num_return_sequences=1, watch=watch)

    # 4. The candidate of least risk among ten, and beside it the copied source.
    sources, references = [pair.source for pair in held], [[pair.target] for pair in held]
    scores = score_texts(generate_texts(model, tokenizer, sources, num_inference_steps=10), references, sources)
    print(f"wrong letters: {scores['error_rate']:.1%}; copy the source: {scores['copied_error_rate']:.1%}")

    # 5. Letters that stay where they are: the last one is a d.
    position = len(held[0].target.split())  # after the first token, which begins the target
    end = {position: tokenizer.encode("d", add_special_tokens=False).ids[0]}
    (filled,) = generate_texts(model, tokenizer, [held[0].source], known_tokens=[end], num_inference_steps=10)
    print(f"with a fixed last letter: {filled[0]}")


if __name__ == "__main__":
    main()
