"""Classify texts from label words and raw text: by cosine at once, then by label rows learnt from mined sentences.

Run: python examples/gotuning.py
The packaged MiniLM is the model, and the sentences were written for modicum: this shows what comes out, not how good it
is. For raw text of yours, mine("reviews.txt") or a folder takes the place of the documents.
"""

from __future__ import annotations

from modicum.zeroshot import CorpusIndex, GoTuner, MineSettings, ZeroShotClassifier
from modicum.zeroshot.data import read_written

NEW = ["I would buy it again without thinking twice.", "It broke on the second day.", "The staff laughed at us."]


def main() -> None:
    written = read_written()

    # 1. Before any tuning the answers are cosines between a text and its labels in the templates of the task.
    tuner = GoTuner(task=written.task, mining=MineSettings(per_class=20))
    before = tuner.predict(NEW)

    # 2. Index the raw text once, and see what it has for each label word.
    index = CorpusIndex.build(written.documents)
    mined = tuner.mine(index)
    print(mined.report)

    # 3. Learn label rows in closed form; route="encoder" would train the encoder from there.
    tuner.fit(mined, route="head")
    for text, old, new in zip(NEW, before, tuner.predict(NEW), strict=True):
        print(f"{old:9} {new:9} {text}")

    # 4. Any labels, in the shape of transformers' pipeline; each text is encoded once.
    found = ZeroShotClassifier(tuner)("The match ended two to one.", ["sports", "politics", "cooking"])
    print(found["labels"][0], [round(score, 2) for score in found["scores"]])


if __name__ == "__main__":
    main()
