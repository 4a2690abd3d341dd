"""Where models come from: the catalog, downloads, folders, GGUF files, the embedded model, and the memory they need."""
