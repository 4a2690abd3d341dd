"""The stages of a run, in order: draft, verdict, critique, revision, pair, train, compare, report."""
