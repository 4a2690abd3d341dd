"""Runs on disk: the folder, the journal, its readers and exports, and the state that its events add up to."""
