"""The panes of the run screen. Each shows a part of the session and knows nothing of the others."""
