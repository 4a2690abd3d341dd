"""Redraft's public API under the project's own name: `import redraft`. `engine` defines and describes it.

`python -m redraft` is the program `redraft`.
"""

from __future__ import annotations

from engine import *  # noqa: F403 -- `engine.__all__` is the one list of the public names
from engine import __all__ as __all__
from engine import __version__ as __version__

if __name__ == "__main__":
    import sys

    from tui.start import main

    sys.exit(main())
