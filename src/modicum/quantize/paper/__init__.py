"""RAPQ as published: rounding and exponents by gradient descent, one unit of the network after another.

Yao et al. 2022, arXiv:2204.12322.
"""
