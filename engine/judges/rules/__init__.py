"""The judge by rules: patterns of the constitution, and whether a text says a thing itself or only mentions it."""
