"""`redraft bench`: how fast the engine is, as ratios to what a person would otherwise use, measured side by side."""
