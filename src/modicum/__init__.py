"""modicum: learn more from less.

Ten published methods as drop-in parts, each with an honest comparison that anyone can run on their own data.
Nothing heavy is imported until a name is used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
