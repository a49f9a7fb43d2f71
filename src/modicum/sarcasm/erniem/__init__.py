# ruff: noqa: F401 - what other packages use of it
"""ERNIE-M, which transformers no longer has: its weights are those of XLM-RoBERTa, and its tokenizer is here.

Names, shapes and settings are mapped one to one (`mapping`); a checkpoint is read and written anew once (`checkpoint`),
and texts become the integers that it was trained on (`tokenizer`).

Ouyang, Wang, Pang, Sun, Tian, Wu and Wang, "ERNIE-M: Enhanced Multilingual Representation by Aligning Cross-lingual
Semantics with Monolingual Corpora" (EMNLP 2021, arXiv:2012.15674).
"""

from __future__ import annotations

from modicum.sarcasm.erniem.checkpoint import convert_ernie_m, open_ernie_m, read_pooler
from modicum.sarcasm.erniem.mapping import is_ernie_m, positions
from modicum.sarcasm.erniem.tokenizer import ErnieMTokenizer, has_ernie_m_tokenizer
