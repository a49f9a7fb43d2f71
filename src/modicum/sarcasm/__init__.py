"""X-PuDu: sarcasm in English and Arabic, by training one encoder on both languages.

Han, Chai, Wang, Sun, Huang, Chen, Xu and Yang, "X-PuDu at SemEval-2022 Task 6: Multilingual Learning for English and
Arabic Sarcasm Detection" (SemEval 2022, arXiv:2211.16883). The paper's hyper-parameters were not consulted,
and no code was released: what is not said in its abstract is our default, and named so.
"""

import lazy_loader

# transformers, scikit-learn and sentencepiece are heavy: a name is imported when it is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
