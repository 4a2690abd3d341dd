"""What happens in a run, as typed records: the envelope, one line of a journal and back, what each verbosity shows."""
