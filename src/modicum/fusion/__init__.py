"""CubeMLP: multimodal sentiment and depression estimation by mixing along time, modality and channel.

Sun, Wang, Liu, Chen and Lin, "CubeMLP: An MLP-based Model for Multimodal Sentiment Analysis and Depression Estimation"
(ACM MM 2022, arXiv:2207.14087). Equations and constants are those of the released code, whose weights are read; where
it lets a prediction depend on the other samples of its batch, ours does not.
"""

import lazy_loader

# transformers is heavy: a name is imported when it is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
