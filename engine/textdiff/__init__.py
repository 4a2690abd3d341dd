"""Differences between two texts: sentences aligned, words marked, kinds of change. Knows nothing of models."""
