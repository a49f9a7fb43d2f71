"""FGHV: presentation attacks on faces, told from genuine ones by generated hypotheses that must agree.

Liu, Lu, Xu, Yang, Ding and Ma, "Feature Generation and Hypothesis Verification for Reliable Face Anti-Spoofing" (AAAI
2022, arXiv:2112.14894). No code was released and this is a reconstruction from the paper's figures, with additions of
ours without which the hypotheses collapse. What the hypotheses disagree on is unknown, and is said to be.
"""

import lazy_loader

# transformers takes seconds to import.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
