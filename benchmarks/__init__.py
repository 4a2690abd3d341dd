"""How fast the engine is, as ratios to what people would otherwise use, measured side by side."""
