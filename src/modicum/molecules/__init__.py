"""GPR-MGK: explore a chemical space with the fewest simulations.

Xiang, Tang, Gong, Liu, Wu, Lin and Sun, "Efficient Exploration of Chemical Compound Space Using Active Learning for
Prediction of Thermodynamic Properties of Alkane Molecules" (J. Chem. Inf. Model. 2024, arXiv:2209.00514). A Gaussian
process with a marginalized graph kernel tells, without a label, which molecules are not yet covered by the others.
"""

import lazy_loader

# Kernel, simulation and network each need heavy libraries: a name is imported when it is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
