"""The judge by linear probes on a model's hidden states: features, fitting, calibration, files."""
