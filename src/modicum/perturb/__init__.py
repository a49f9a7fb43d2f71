"""HyPe: random noise on the hidden states that enter each Transformer layer, while a pre-trained model is fine-tuned.

Yuan, Yuan, Tan, Huang and Huang, "HyPe: Better Pre-trained Language Model Fine-tuning with Hidden Representation
Perturbation" (ACL 2023, arXiv:2212.08853). The noise needs no second forward pass and no extra loss.
"""

import lazy_loader

# The class of a callback has a base in transformers, which takes seconds to import.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
