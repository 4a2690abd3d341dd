"""`redraft watch`: shows a run that another process performs, as it goes on."""

from __future__ import annotations

import sys

from tui import output
from tui.commands import options


def watch(run: options.Run = "last", verbosity: options.Verbosity = 2, as_json: options.Json = False) -> None:
    """Show a run from its beginning, and go on until it ends. Ctrl-C ends the watching, not the run.

    With --json every entry is one object a line, as `redraft export --format jsonl` writes it.
    """
    from engine.journal.export import row
    from engine.journal.reader import JournalReader
    from engine.journal.runs import find_run, inspect
    from engine.journal.writer import is_written
    from tui.headless import follow
    from tui.plain import PlainDisplay

    folder = find_run(run)
    display = PlainDisplay(sys.stdout, sys.stderr, verbosity)
    told = 0

    def show(reader: JournalReader) -> None:
        nonlocal told
        while events := reader.poll(limit=200):
            if as_json:
                for event in events:
                    entry = row(event, verbosity)
                    if entry is not None:
                        output.emit(entry)
            else:
                display.show(events)
        for damage in reader.damage[told:]:
            display.notice(f"redraft: {damage.length} bytes of the journal at {damage.offset} cannot be read")
        told = len(reader.damage)

    try:
        follow(folder, show, lambda: is_written(folder))
    finally:
        display.close()
    output.notice(f"{folder.name} is {inspect(folder).state}.")
