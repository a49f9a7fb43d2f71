"""Selection without labels: posterior std, its lazy Cholesky factor, and the active learner."""
