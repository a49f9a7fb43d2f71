"""Train on texts in English and Arabic, read others, rank rewrites of a sentence, and say which words decided.

Run: python examples/xpudu.py
The texts were written for modicum and are no real messages: this shows what comes out, not how good it is. For texts of
yours only the numbered lines matter.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from modicum.sarcasm import Example, SarcasmSystem, Settings, fit
from modicum.sarcasm.data.preparation import language_of
from modicum.sarcasm.written import read_written

NEW = ["Lovely, another meeting about meetings.", "The meeting starts at ten.", "رائع، اجتماع آخر عن الاجتماعات"]
REWRITES = [
    "The lift is broken again.",
    "The lift has a day off, it works so hard.",
    "What a joy, seven floors of free exercise.",
]


def main() -> None:
    # 1. Fit. An author's plain rephrase of a sarcastic text, where there is one, teaches the ranking.
    known = [*read_written("en"), *read_written("ar")]
    fitted = fit(known, Settings(model="ngrams", preset="modicum", folds=3, seed=0))

    # 2. Save it and read it back: safetensors and JSON, no pickle.
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "system"
        fitted.system.save(saved)
        system = SarcasmSystem.load(saved)

    # 3. Read texts: the language is given for each, and has a threshold of its own.
    asked = [Example(text=text, language=language_of(text)) for text in NEW]
    readings = system.read(asked)
    for example, probability, label in zip(asked, readings.probabilities, readings.labels, strict=True):
        print(f"{probability:.2f} {'sarcastic' if label else 'plain':9}  {example.text}")

    # 4. Rank rewrites: each is scored once, and the scores are compared.
    ranks = system.rank([Example(text=text, language="en") for text in REWRITES])
    print("\nFrom the most sarcastic wording to the plainest:")
    for index in ranks.argsort()[::-1]:
        print(f"{ranks[index]:+.2f}  {REWRITES[index]}")

    # 5. Explain: the shares of the words and the intercept are the logit, nothing is estimated.
    print("\nFor (+) and against (-) sarcasm, in logits:")
    for share in system.explain(asked[0]):
        print(f"{share.share:+.2f}  {share.text}")


if __name__ == "__main__":
    main()
