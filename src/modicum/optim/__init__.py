"""NSGD: stochastic gradient descent whose step for each layer is divided by the power of that layer's input.

The idea is the normalised least-mean-squares filter of signal processing, carried to deep networks: Atici, Pan and
Cetin, arXiv:2212.09921 (2022, "Normalized SGD"; later versions say "Input Normalized SGD"). It is another method
than the normalised SGD that divides by the norm of the gradient (Hazan, Levy and Shalev-Shwartz, 2015).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
