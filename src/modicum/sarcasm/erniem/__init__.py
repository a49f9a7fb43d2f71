"""ERNIE-M, which transformers no longer has: its weights are those of XLM-RoBERTa, and its tokenizer is here.

Names and shapes are mapped one to one (`mapping`), the settings too (`configuration`); a checkpoint is read and written
anew once (`checkpoint`), and texts become the numbers that it was trained on (`splitting`, `tokenizer`).

Ouyang, Wang, Pang, Sun, Tian, Wu and Wang, "ERNIE-M: Enhanced Multilingual Representation by Aligning Cross-lingual
Semantics with Monolingual Corpora" (EMNLP 2021, arXiv:2012.15674).
"""

from __future__ import annotations

from modicum.sarcasm.erniem.checkpoint import (
    convert_ernie_m as convert_ernie_m,
)
from modicum.sarcasm.erniem.checkpoint import (
    open_ernie_m as open_ernie_m,
)
from modicum.sarcasm.erniem.checkpoint import (
    read_pooler as read_pooler,
)
from modicum.sarcasm.erniem.configuration import is_ernie_m as is_ernie_m
from modicum.sarcasm.erniem.mapping import positions as positions
from modicum.sarcasm.erniem.tokenizer import (
    ErnieMTokenizer as ErnieMTokenizer,
)
from modicum.sarcasm.erniem.tokenizer import (
    has_ernie_m_tokenizer as has_ernie_m_tokenizer,
)
