"""The program `redraft`: without a command the app at once, else the command line.

The command line's parser and commands take half as long to import as Textual, and the app needs none of it.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

from tui.terminal import output


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    output.prepare()
    if words or not output.has_terminal():
        from tui.cli import main as run_command

        return run_command(words)
    try:
        return _open_app()
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 -- the last resort: a user must not see a traceback
        from tui.commands.failure import report

        return report(error, as_json=False)


def _open_app() -> int:
    gc.disable()  # until the first picture: of what is imported nothing can be freed
    from tui.terminal import detach

    detach.launch()
    from tui.app import run

    return run()


if __name__ == "__main__":
    sys.exit(main())
