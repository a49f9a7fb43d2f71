"""SeqDiffuSeq: sequence-to-sequence text diffusion with a noise schedule for each target position.

Yuan, Yuan, Tan, Huang and Huang, "Text Diffusion Model with Encoder-Decoder Transformers for Sequence-to-Sequence
Generation" (NAACL 2024, arXiv:2212.10325). The embeddings of the target words are denoised, all positions at once, by a
decoder that reads the encoded source; how fast noise grows at a position is learned from the training loss there.
"""

import lazy_loader

# transformers and tokenizers are optional: a name is imported when it is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
