"""The log pane and its core: store, wrapping, layout, viewport and search."""
