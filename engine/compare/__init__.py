"""Base against trained: what changed in the texts, and whether the scores say that it is better."""
