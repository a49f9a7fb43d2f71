"""One encoder with three heads: training on both languages, fast inference, explanation and export."""
