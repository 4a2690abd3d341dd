"""Read YAML that people wrote: plain data only, and an error with its line where it cannot be read."""

from __future__ import annotations

from typing import Any

from engine.errors import InputError


def parse_yaml(text: str) -> Any:
    """The value of a YAML document, never a Python object of its choice.

    Raises:
        yaml.YAMLError: not YAML.
        RecursionError, ValueError: too deep, or an impossible date or number.
    """
    import yaml  # only here: few files are written in it

    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def load_yaml(text: str, source: str, instead: str) -> Any:
    """The value of the YAML in a file.

    Args:
        source: the file's name, for messages.
        instead: a format that will do as well, for the message where YAML cannot hold the value.

    Raises:
        InputError: not YAML, or a value that cannot be read; names the line.
    """
    import yaml

    try:
        return parse_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InputError(
            f"This is not valid YAML ({getattr(error, 'problem', None) or 'it cannot be parsed'}).",
            where=f"{source}, line {mark.line + 1}" if mark is not None else source,
            next_step="Fix the syntax there.",
        ) from None
    except (RecursionError, ValueError) as error:
        raise InputError(
            f"This YAML cannot be read ({error}).", where=source, next_step=f"Write it as {instead}."
        ) from None
