"""What can be said of a quantized network: its proof, its parts, and what it costs."""
