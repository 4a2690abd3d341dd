"""How fast the engine is, as ratios to the usual alternatives, measured side by side."""
