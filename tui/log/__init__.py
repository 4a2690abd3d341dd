"""The core of the log pane: store, wrapping, layout, viewport and search. Knows nothing of Textual."""
