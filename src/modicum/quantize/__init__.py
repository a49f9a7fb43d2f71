"""RAPQ: power-of-two post-training quantization that really is power-of-two.

Yao, Li, Sun, Cheng, Liu, Zhang and Wang, "RAPQ: Rescuing Accuracy for Power-of-Two Low-bit Post-training Quantization"
(IJCAI 2022, arXiv:2204.12322). Scales are stored as integer exponents, so that no other scale can be, and the result
runs on integers and shifts alone.
"""

import lazy_loader

# Tracing, ONNX and the engine each need heavy libraries: a name is imported when it is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
