"""Judges that ask a language model: constrained JSON, answer likelihood, OpenAI-compatible servers."""
