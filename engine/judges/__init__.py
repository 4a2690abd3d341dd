"""Judges: one protocol, by kind (rules, probe, language model), and how good each was measured to be."""
