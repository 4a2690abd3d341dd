"""The terminal: driver, cell diff, sanitizing, detaching. The only place that uses private parts of Textual."""
