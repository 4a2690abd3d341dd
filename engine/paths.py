"""Where Redraft keeps its files: runs and settings in the data folder, converted models and measurements in the cache.

`REDRAFT_HOME` moves both under one folder, for tests, shared machines and portable set-ups.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def data_dir() -> Path:
    """The folder for what must not be lost (runs, fitted judges). Not created here."""
    home = _home()
    return home / "data" if home else Path(platformdirs.user_data_dir("redraft", appauthor=False))


def cache_dir() -> Path:
    """The folder for what can be made again (converted models, machine measurements). Not created here."""
    home = _home()
    return home / "cache" if home else Path(platformdirs.user_cache_dir("redraft", appauthor=False))


def config_dir() -> Path:
    """The folder for the user's own files (settings, key bindings, themes). Not created here."""
    home = _home()
    return home / "config" if home else Path(platformdirs.user_config_dir("redraft", appauthor=False))


def _home() -> Path | None:
    """The folder that REDRAFT_HOME names, absolute, so that it stays the same where the working folder changes."""
    home = os.environ.get("REDRAFT_HOME")
    if not home:
        return None
    # An unknown "~name" stays as it is written: the folder then has that name.
    return Path(os.path.abspath(os.path.expanduser(home)))


def runs_dir() -> Path:
    """The folder that holds one folder a run."""
    return data_dir() / "runs"
