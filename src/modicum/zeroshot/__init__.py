"""Go-tuning: zero-shot classification by a small model, from label words and raw text.

Xu, Dong, Liu and Li, "Go-tuning: Improving Zero-shot Learning Abilities of Smaller Language Models" (2022,
arXiv:2212.10461). Sentences of an unlabelled corpus that hold a label word, with the word masked, teach a small model
the labels. The paper's full text was not consulted and no code was released: this implements what its abstract
describes, and every other choice is our reconstruction, named so.
"""

import lazy_loader

# transformers and scikit-learn are heavy: a name is imported when it is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
