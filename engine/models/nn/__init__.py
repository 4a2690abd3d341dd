"""The arithmetic of the supported decoder families."""
