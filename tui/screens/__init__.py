"""The run screen and the windows above it."""
