"""Quantization layer by layer from second moments: no gradients."""
