"""RAPQ: power-of-two post-training quantization."""
