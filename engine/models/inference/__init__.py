"""Generation and scoring: continuous batching, KV cache, prefix cache, sampling, constraints, log-probabilities."""
