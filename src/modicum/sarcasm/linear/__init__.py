"""The classical fallback: logistic regressions on n-grams or on a frozen encoder, for all three tasks."""
