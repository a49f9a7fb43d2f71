"""PeerPL: learn policies from noisy rewards and imperfect demonstrations.

Wang, Guo, Zhu and Liu, "Policy Learning Using Weak Supervision" (NeurIPS 2021, arXiv:2010.01748). A policy is scored by
its agreement with the weak supervision of a sample, minus a share xi of its agreement with that of unrelated samples,
which punishes blind agreement.
"""

import lazy_loader

# gymnasium and Stable-Baselines3 are optional: a name is imported when it is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
