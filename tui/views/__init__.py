"""Reports, verdicts and diffs as lines of text with roles; shared by screens and commands. Knows nothing of Textual."""
