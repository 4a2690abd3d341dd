"""Paired statistics of base against trained answers. Knows nothing of models."""
