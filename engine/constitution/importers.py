"""Reads the constitution format of the Constitutional AI paper (Bai et al. 2022, arXiv 2212.08073).

A JSON object: name -> {"prompt": text or list of texts, "edit_request": text}, as in the paper's
CritiqueRevisionInstructions.json. How it becomes a constitution:

- Each entry is one critique request and the revision request that belongs to it. The lead-ins "CritiqueRequest:" and
  "RevisionRequest:" and the trailing "Critique:" and "Revision:" are removed: Redraft's own prompts add theirs.
- Entries whose names differ only in a number at the end ("harmful0", "harmful1") are one principle with many requests,
  named without the number. Other names are principles of their own.
- Every principle has weight 1 and no rules: the paper's requests have no patterns.
"""

from __future__ import annotations

import json
import re
from typing import Any

from engine.constitution.check import MAX_PRINCIPLES, MAX_TEXT_LENGTH, MAX_TEXTS
from engine.constitution.model import Constitution, Principle
from engine.errors import InputError
from engine.text import sanitize

_SHAPE = 'The file has to be an object: {"name": {"prompt": "...", "edit_request": "..."}, ...}.'
_LEAD = re.compile(r"\s*(?:Critique\s*Request|Revision\s*Request)\s*:\s*", re.IGNORECASE)
_TAIL = re.compile(r"\s*\b(?:Critique|Revision)\s*:\s*$", re.IGNORECASE)


def import_json(text: str, source: str, sha256: str) -> Constitution:
    """The constitution in the paper's JSON (see the module docstring for the mapping).

    Raises:
        InputError: not JSON, or not of this shape; names the line or the entry.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    names: dict[str, str] = {}
    for name, entry in _entries(text, source).items():
        base = re.sub(r"[\s_-]*\d+$", "", name) or name
        identifier = _identifier(base)
        names.setdefault(identifier, base)
        groups.setdefault(identifier, []).extend(_requests(name, entry, source))
    if len(groups) > MAX_PRINCIPLES:
        raise InputError(
            f"The entries make {len(groups)} principles; at most {MAX_PRINCIPLES} are allowed.",
            where=source,
            next_step='Give entries of one principle the same name with a number: "harm0", "harm1".',
        )
    principles = tuple(_principle(identifier, names[identifier], requests) for identifier, requests in groups.items())
    return Constitution(re.split(r"[/\\]", source)[-1].removesuffix(".json"), principles, source, sha256)


def _entries(text: str, source: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise InputError(
                    f'The name "{sanitize(key[:64])}" appears twice.', where=source, next_step="Rename one."
                )
            result[key] = value
        return result

    try:
        value = json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise InputError(
            f"This is not valid JSON: {error.msg}.", where=f"{source}, line {error.lineno}, column {error.colno}"
        ) from None
    except (RecursionError, ValueError):
        raise InputError("The JSON is nested too deeply or holds a number too long.", where=source) from None
    if not isinstance(value, dict) or not value:
        raise InputError("This is not a constitution.", where=source, next_step=_SHAPE)
    return value


def _requests(name: str, entry: object, source: str) -> list[tuple[str, str]]:
    """Pairs of critique and revision request of one entry."""
    where = f'{source}, entry "{sanitize(name[:64])}"'
    if not isinstance(entry, dict):
        raise InputError("The entry is not an object.", where=where, next_step=_SHAPE)
    unknown = sorted(set(entry) - {"prompt", "edit_request"})
    if unknown:
        raise InputError(
            f'Unknown key "{sanitize(unknown[0][:64])}".', where=where, next_step="Allowed here: prompt, edit_request."
        )
    prompts = entry.get("prompt")
    prompts = [prompts] if isinstance(prompts, str) else prompts
    if not isinstance(prompts, list) or not prompts or len(prompts) > MAX_TEXTS:
        raise InputError("Expected a text or a list of texts.", where=f"{where}, prompt", next_step=_SHAPE)
    revision = _request(entry.get("edit_request"), f"{where}, edit_request")
    return [(_request(prompt, f"{where}, prompt"), revision) for prompt in prompts]


def _request(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise InputError("Expected a text.", where=where, next_step=_SHAPE)
    request = _TAIL.sub("", _LEAD.sub("", value[: MAX_TEXT_LENGTH + 1], count=1)).strip()
    if not request:
        raise InputError("The request is empty.", where=where)
    if len(request) > MAX_TEXT_LENGTH:
        raise InputError(f"The request has more than {MAX_TEXT_LENGTH:,} characters.", where=where)
    return sanitize(request)


def _identifier(name: str) -> str:
    plain = re.sub(r"[^a-z0-9_.-]+", "_", name.lower()).strip("_.-")[:60]
    return plain if plain[:1].isalpha() else f"p_{plain}".rstrip("_")


def _principle(identifier: str, name: str, requests: list[tuple[str, str]]) -> Principle:
    title = sanitize(re.sub(r"[\s_-]+", " ", name)).strip().capitalize()[:120] or identifier
    unique = list(dict.fromkeys(requests))[:MAX_TEXTS]
    return Principle(
        id=identifier,
        title=title,
        short=identifier[:24],
        description=unique[0][0],
        weight=1.0,
        critiques=tuple(critique for critique, _ in unique),
        revisions=tuple(revision for _, revision in unique),
    )
