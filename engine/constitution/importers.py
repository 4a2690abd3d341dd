"""Reads constitutions that other projects write: JSON of several shapes, lists of statements, Markdown documents.

- The Constitutional AI paper's JSON (Bai et al. 2022, arXiv 2212.08073): name -> {"prompt": text or list of texts,
  "edit_request": text}. Each entry is one critique request and the revision request that belongs to it. The lead-ins
  "CritiqueRequest:" and "RevisionRequest:" and the trailing "Critique:" and "Revision:" are removed: Redraft's own
  prompts add theirs. Entries whose names differ only in a number at the end ("harmful0", "harmful1") are one principle
  with many requests, named without the number, and a notice says so. Other names are principles of their own, and so
  are numbered ones that say no more than "principle 1", "rule 2".
- llm-swarm's list of {"critic", "revision"}, alone or under "constitutions": a principle each.
- A list of statements, as in Collective Constitutional AI: texts, or objects with "statement", or a CSV file with such
  a column. The requests are made from the statement.
- YAML of these shapes, or a promptfoo configuration: each rubric of its tests is a principle.
- Markdown: each heading with text below it is a principle, the text its description.

Every principle has weight 1 and no rules: these files hold no patterns. Ids are unique, ASCII and never empty: names in
other scripts are numbered (principle_1), equal ids get a number at the end; nothing is merged but numbered names.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from engine.constitution.check import MAX_PRINCIPLES, MAX_TEXT_LENGTH, MAX_TEXTS
from engine.constitution.model import Constitution, Principle
from engine.errors import InputError
from engine.text import sanitize, truncate
from engine.yaml_text import load_yaml

_SHAPE = (
    'The file has to be an object: {"name": {"prompt": "...", "edit_request": "..."}, ...}; a list of '
    '{"critic": "...", "revision": "..."}; or a list of statements.'
)
_LEAD = re.compile(r"\s*(?:Critique\s*Request|Revision\s*Request)\s*:\s*", re.IGNORECASE)
_TAIL = re.compile(r"\s*\b(?:Critique|Revision)\s*:\s*$", re.IGNORECASE)
_HEADING = re.compile(r"(#{1,6})\s+(\S.*?)\s*#*\s*")
_FENCE = re.compile(r"\s*(?:```|~~~)")
_RUBRICS = ("llm-rubric", "g-eval", "model-graded-closedqa")
"""promptfoo's assertions that hold a rubric."""
_CRITIQUES = ("critic", "critique", "critique_request", "prompt")
_REVISIONS = ("revision", "revision_request", "edit_request")
_STATEMENTS = ("statement", "principle", "text", "constitution", "rule", "description")
_NAMES = ("name", "title", "id")
_WRAPPERS = ("constitutions", "constitution", "principles", "rules", "statements")
_JUST_NUMBERED = {"principle", "rule", "article", "statement", "constitution", "item", "entry", "critique", "request"}
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_BOLD_LINE = re.compile(r"\*\*(\S.*?)[.:]?\*\*[.:]?\s+(\S.*)")
"""A principle that begins with its name in bold."""
_NUMBERED = re.compile(r"(?<=[^\W\d_])[\s_]*\d{1,3}$")
"""The number at the end of a name that is one of several of a principle; no version ("1.2", "GPT-4") and no year."""
_UNDERLINE = re.compile(r"(=+|-{2,})\s*")
_LIST_ITEM = re.compile(r"\s*(?:[-*+]|\d{1,4}[.)])\s+(?:\[[ xX]\]\s+)?(\S.*)")
_NO_WORDS = re.compile(r"(?:\s*(?:[-*+]|\d{1,4}[.)])?\s*(?:\[[^\]]*\]\(#[^)]*\)|!\[[^\]]*\]\([^)]*\)))+\s*")
"""A line that only points to a heading, as in a table of contents, or shows a picture."""
_ANCHOR = re.compile(r"\s*\{[#.:][^}]*\}\s*$")
_EMPHASIS = re.compile(r"(\*\*|__|`|\*)(\S(?:.*?\S)?)\1")


def import_json(text: str, source: str, sha256: str) -> Constitution:
    """The constitution in JSON (see the module docstring for the shapes).

    Raises:
        InputError: not JSON, or of no known shape; names the line or the entry.
    """
    return _imported(_entries(text, source), source, sha256)


def import_yaml(text: str, source: str, sha256: str) -> Constitution:
    """The constitution in YAML: the shapes of JSON, or the rubrics of promptfoo's tests.

    Raises:
        InputError: not YAML, or of no known shape; names the line or the entry.
    """
    value = load_yaml(text, source, "TOML")
    if not isinstance(value, dict | list) or not value:
        raise InputError("This is not a constitution.", where=source, next_step=_SHAPE)
    rubrics = list(_rubrics(value, source))
    if rubrics:
        filled = [truncate(text, 60) for _, text, _ in rubrics if "{{" in text]
        notices = [f"{source}: {len(rubrics)} rubrics of promptfoo's tests are principle drafts."]
        if filled:
            notices.append(f"{source}: variables in rubrics are not filled in: {', '.join(filled[:5])}.")
        return _constitution(rubrics, source, sha256, "Delete some of them.", notices)
    return _imported(value, source, sha256)


def _rubrics(config: Any, source: str) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """The rubrics that a model grades answers by, each once: of all tests, and of each."""
    whole = config if isinstance(config, dict) else {"tests": config}
    tests = [whole.get("defaultTest"), *(whole["tests"] if isinstance(whole.get("tests"), list) else [])]
    seen: set[str] = set()
    for number, test in enumerate(tests):
        where = f"{source}, test {number}" if number else f"{source}, defaultTest"
        for text, name in _test_rubrics(test):
            if text not in seen:
                seen.add(text)
                yield stated(text, where, name)


def _test_rubrics(test: Any) -> Iterator[tuple[str, str]]:
    """(rubric, name) of one test; the test's description names a rubric that stands alone."""
    asserts = test.get("assert") if isinstance(test, dict) else None
    for one in _graded(asserts if isinstance(asserts, list) else []):
        value = one.get("value")
        texts = value if isinstance(value, list) else [value]
        name = one.get("metric") or (test.get("description") if len(texts) == 1 else "")
        for text in texts:
            if isinstance(text, str) and text.strip() and not text.startswith("file://"):
                yield text, name if isinstance(name, str) else ""


def _graded(asserts: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """The assertions that a model decides, those of sets of assertions too."""
    for one in asserts:
        if isinstance(one, dict) and one.get("type") in _RUBRICS:
            yield one
        elif isinstance(one, dict) and isinstance(one.get("assert"), list):
            yield from _graded(one["assert"])


def _imported(value: Any, source: str, sha256: str) -> Constitution:
    """The constitution of a value of JSON or YAML."""
    notices: list[str] = []
    if isinstance(value, dict):
        value = _unwrapped(value, source, notices)
    if isinstance(value, list):
        if not any(isinstance(entry, dict | str) for entry in value):
            raise InputError("This is not a constitution.", where=source, next_step=_SHAPE)
        found = [_listed(entry, number, source) for number, entry in enumerate(value, 1)]
        return _constitution(found, source, sha256, "Delete some of them.", notices)
    value = {str(name): entry for name, entry in value.items()}
    if all(isinstance(entry, str) for entry in value.values()):
        named = [stated(text, f'{source}, entry "{sanitize(name[:64])}"', name) for name, text in value.items()]
        return _constitution(named, source, sha256, "Delete some of them.", notices)
    return _grouped(value, source, sha256, notices)


def _unwrapped(value: dict[str, Any], source: str, notices: list[str]) -> Any:
    """What an object holds below a key such as "principles", or the object itself."""
    wrapper = next((key for key in _WRAPPERS if _is_wrapped(value.get(key))), "")
    if not wrapper:
        return value
    others = [sanitize(key[:64]) for key in value if key != wrapper]
    if others:
        notices.append(f"{source}: only {wrapper} is used, not: {', '.join(others[:12])}.")
    return value[wrapper]


def _grouped(value: Mapping[str, Any], source: str, sha256: str, notices: list[str]) -> Constitution:
    """The constitution of an object of requests: entries whose names differ only in a number are one principle."""
    groups: dict[str, list[tuple[str, str]]] = {}
    entries: Counter[str] = Counter()
    for name, entry in value.items():
        base = _without_number(name)
        entries[base] += 1
        groups.setdefault(base, []).extend(_requests(name, entry, source))
    notices += [
        f"{source}: {count} entries whose names differ only in a number are one principle: {sanitize(base[:64])}."
        for base, count in entries.items()
        if count > 1
    ]
    advice = 'Give entries of one principle the same name with a number: "harm0", "harm1".'
    return _constitution([(base, "", found) for base, found in groups.items()], source, sha256, advice, notices)


def _is_wrapped(value: Any) -> bool:
    """Whether this is the list, or the object of texts, that another object holds."""
    return isinstance(value, list) or (
        isinstance(value, dict) and bool(value) and all(isinstance(entry, str) for entry in value.values())
    )


def _without_number(name: str) -> str:
    """The name without a number at its end; as it is where the rest says nothing ("principle 1")."""
    base = _NUMBERED.sub("", name)
    return name if not base or base.strip().casefold() in _JUST_NUMBERED else base


def import_statements(statements: Sequence[str], source: str, sha256: str) -> Constitution:
    """A constitution with a principle for each statement.

    Raises:
        InputError: there are too many, or one is too long or empty.
    """
    found = [stated(text, f"{source}, statement {number}") for number, text in enumerate(statements, 1)]
    return _constitution(found, source, sha256, "Delete some of them.")


def import_markdown(text: str, source: str, sha256: str) -> Constitution:
    """A constitution with a principle for each heading of a Markdown document that has text below it.

    Raises:
        InputError: there is no heading with text, there are too many, or the text below one is too long.
    """
    sections = markdown_sections(text)
    filled = [(title, first, body) for title, first, body in sections if body]
    if len(filled) == 1 and (items := _items(filled[0][2], titled=bool(filled[0][0]))):
        found = [stated(text, f"{source}, line {filled[0][1]}", name) for name, text in items]
    else:
        found = [
            stated(" ".join(map(str.strip, body)), f"{source}, line {first}", title or "Preamble")
            for title, first, body in filled
        ]
    if not found:
        raise InputError(
            "This is a Markdown document without a heading that has text below it.",
            where=source,
            next_step="Write a heading for each principle and what it asks below it, or a list; or write TOML.",
        )
    empty = [sanitize(title[:64]) for title, _, body in sections if title and not body]
    notices = [f"headings without text below them are not used: {', '.join(empty[:12])}."] if empty else []
    notices += _unexpected([name for name, *_ in found], filled[0][2], titled=_is_title(text, filled[0][0]))
    notices = [f"{source}: {notice}" for notice in notices]
    return _constitution(found, source, sha256, "Join sections, or write the principles as TOML.", notices)


def _unexpected(names: Sequence[str], first: Sequence[str], *, titled: bool) -> Iterator[str]:
    """What the writer of the document may not have meant: a list as one principle, an introduction as one.

    Args:
        names: of the principles.
        first: lines of the first section that has text.
        titled: its heading is the document's title.
    """
    listed = sum(_LIST_ITEM.fullmatch(line) is not None or line.lstrip().startswith("|") for line in first)
    if len(names) == 1 and listed > 1:
        yield f"one principle holds a list or table of {listed} lines: write a heading for each that is one."
    if len(names) > 1 and titled:
        yield f"the text below the document's title is a principle, too: {names[0][:64]}."
    if names[0] == "Preamble":
        yield "the text before the first heading is a principle, too: Preamble."


def _is_title(text: str, heading: str) -> bool:
    """Whether this is the title of the document: its first heading, above all others, which are of lower levels."""
    levels = [(len(found[1]), _plain_title(found[2])) for found in map(_HEADING.fullmatch, text.splitlines()) if found]
    return bool(levels) and levels[0] == (1, heading) and all(level > 1 for level, _ in levels[1:])


def _items(body: Sequence[str], *, titled: bool) -> list[tuple[str, str]]:
    """(name, statement) of each item of a list of principles, which may begin with its name in bold; lines below an
    item belong to it. Empty where the lines are no such list.

    Args:
        titled: the lines stand below the document's only heading, which a single item explains.
    """
    texts = _item_texts(body)
    if not texts and all(_BOLD_LINE.fullmatch(line.strip()) for line in body):
        texts = [line.strip() for line in body]
    if titled and len(texts) < 2:
        return []
    named = [_BOLD_LINE.fullmatch(text) for text in texts]
    return [(one[1].rstrip(":"), one[2]) if one else ("", text) for one, text in zip(named, texts, strict=True)]


def _item_texts(body: Sequence[str]) -> list[str]:
    """The items of a list, each with the lines below it; empty where a line belongs to none."""
    outermost = [line for line in body if _LIST_ITEM.fullmatch(line)]
    indent = min((_indent(line) for line in outermost), default=0)
    texts: list[str] = []
    for line in body:
        item = _LIST_ITEM.fullmatch(line)
        if item is not None and _indent(line) <= indent + 1:
            texts.append(item[1])
        elif texts and _indent(line) > indent:
            texts[-1] += f" {item[1] if item else line.strip()}"
        else:
            return []
    return texts


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _plain_title(title: str) -> str:
    """The heading without marks of emphasis and an anchor for links."""
    return _EMPHASIS.sub(r"\2", _ANCHOR.sub("", title)).strip() or title


def markdown_sections(text: str) -> list[tuple[str, int, list[str]]]:
    """(title, line number, lines) of each heading of a Markdown document, comments left out; title "" for text before
    the first. Lines keep their indentation; blank ones are left out."""
    text = _COMMENT.sub(lambda comment: "\n" * comment.group().count("\n"), text)
    sections: list[tuple[str, int, list[str]]] = []
    fenced = False
    above = ""
    for number, line in _without_front_matter(text.splitlines()):
        fenced ^= _FENCE.match(line) is not None
        heading = None if fenced else _HEADING.fullmatch(line)
        underline = not fenced and _UNDERLINE.fullmatch(line) is not None
        if heading is not None:
            sections.append((_plain_title(heading[2]), number, []))
        elif underline and above.strip() and sections and sections[-1][2][-1:] == [above]:
            # A title underlined on the next line was taken for text.
            sections[-1][2].pop()
            if not sections[-1][0] and not sections[-1][2]:
                sections.pop()
            sections.append((_plain_title(above.strip()), number - 1, []))
        elif line.strip() and not underline and not _NO_WORDS.fullmatch(line):
            if not sections:
                sections.append(("", number, []))
            sections[-1][2].append(line.rstrip())
        above = line.rstrip()
    return sections


def _without_front_matter(lines: list[str]) -> Iterator[tuple[int, str]]:
    """(number, line) of the lines after a block of metadata between two lines of "---" at the beginning."""
    start = lines.index("---", 1) + 1 if lines[:1] == ["---"] and "---" in lines[1:] else 0
    yield from enumerate(lines[start:], start + 1)


def _constitution(
    found: Sequence[tuple[str, str, list[tuple[str, str]]]],
    source: str,
    sha256: str,
    advice: str,
    notices: Sequence[str] = (),
) -> Constitution:
    """A constitution of (name, description, requests); "" for a name or description takes the first request."""
    if len(found) > MAX_PRINCIPLES:
        raise InputError(
            f"The entries make {len(found)} principles; at most {MAX_PRINCIPLES} are allowed.",
            where=source,
            next_step=advice,
        )
    taken: set[str] = set()
    principles = []
    once = {(name, description, tuple(requests)): None for name, description, requests in found}
    if len(once) < len(found):
        notices = [*notices, f"{source}: entries that repeat an earlier one are left out: {len(found) - len(once)}."]
    for number, (name, description, requests) in enumerate(once, 1):
        principles.append(principle(name, description, list(requests), number, taken))
        taken.add(principles[-1].id)
    stem = re.sub(r"\.(?:jsonl?|csv|tsv|md|markdown|txt|ya?ml)$", "", re.split(r"[/\\]", source)[-1])
    return Constitution(stem, tuple(principles), source, sha256, tuple(notices))


def _refuse_unknown_keys(entry: Mapping[Any, Any], known: AbstractSet[str], where: str) -> None:
    if unknown := sorted(str(key) for key in entry if key not in known):
        raise InputError(
            f'Unknown key "{sanitize(unknown[0][:64])}".',
            where=where,
            next_step="Allowed here: critic and revision, or statement; and name.",
        )


def _listed(entry: object, number: int, source: str) -> tuple[str, str, list[tuple[str, str]]]:
    """Name, description and requests of an entry of a list."""
    where = f"{source}, entry {number}"
    if isinstance(entry, str):
        return stated(entry, where)
    if not isinstance(entry, dict):
        raise InputError("The entry is neither an object nor a text.", where=where, next_step=_SHAPE)
    name = next((entry[key] for key in _NAMES if isinstance(entry.get(key), str)), "")
    critique = next((key for key in _CRITIQUES if key in entry), None)
    revision = next((key for key in _REVISIONS if key in entry), None)
    if critique is None or revision is None:
        statement = next((key for key in _STATEMENTS if isinstance(entry.get(key), str)), None)
        if statement is None:
            raise InputError("The entry has no requests and no statement.", where=where, next_step=_SHAPE)
        _refuse_unknown_keys(entry, {statement, *_NAMES}, where)
        return stated(entry[statement], where, name)
    _refuse_unknown_keys(entry, {critique, revision, *_NAMES}, where)
    requests = (_request(entry[critique], f"{where}, {critique}"), _request(entry[revision], f"{where}, {revision}"))
    return name, "", [requests]


def stated(statement: object, where: str, name: str = "") -> tuple[str, str, list[tuple[str, str]]]:
    """Name, description and requests of a principle that is given as a statement."""
    if not isinstance(statement, str) or not statement.strip():
        raise InputError("The statement is empty or no text.", where=where, next_step="Write what the principle asks.")
    text = " ".join(sanitize(statement).split())
    if len(text) > MAX_TEXT_LENGTH - 100:
        raise InputError(
            f"The text has {len(text):,} characters; at most {MAX_TEXT_LENGTH - 100:,} are allowed for a principle.",
            where=where,
            next_step="Divide it into several headings or statements, or shorten it.",
        )
    request = f'Say where the answer does not follow this principle: "{text}"'
    return name, text, [(request, f'Rewrite the answer so that it follows this principle: "{text}"')]


def _entries(text: str, source: str) -> Any:
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
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) > 1 and all(line.lstrip().startswith(("{", '"')) for line in lines):  # JSON lines
            return [_entries(line, f"{source}, line {number}") for number, line in enumerate(lines, 1)]
        raise InputError(
            f"This is not valid JSON: {error.msg}.", where=f"{source}, line {error.lineno}, column {error.colno}"
        ) from None
    except (RecursionError, ValueError):
        raise InputError("The JSON is nested too deeply or holds a number too long.", where=source) from None
    if not isinstance(value, dict | list) or not value:
        raise InputError("This is not a constitution.", where=source, next_step=_SHAPE)
    return value


def _requests(name: str, entry: object, source: str) -> list[tuple[str, str]]:
    """Pairs of critique and revision request of one entry."""
    where = f'{source}, entry "{sanitize(name[:64])}"'
    if not isinstance(entry, dict):
        raise InputError("The entry is not an object.", where=where, next_step=_SHAPE)
    critique = next((key for key in ("prompt", *_CRITIQUES) if key in entry), "prompt")
    revision_key = next((key for key in ("edit_request", *_REVISIONS) if key in entry), "edit_request")
    unknown = sorted(str(key) for key in set(entry) - {critique, revision_key, "name"})
    if unknown:
        raise InputError(
            f'Unknown key "{sanitize(unknown[0][:64])}".', where=where, next_step="Allowed here: prompt, edit_request."
        )
    prompts = entry.get(critique)
    prompts = [prompts] if isinstance(prompts, str) else prompts
    if not isinstance(prompts, list) or not prompts or len(prompts) > MAX_TEXTS:
        raise InputError("Expected a text or a list of texts.", where=f"{where}, prompt", next_step=_SHAPE)
    revision = _request(entry.get(revision_key), f"{where}, {revision_key}")
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


def _identifier(name: str, number: int, taken: set[str]) -> str:
    """An id of ASCII letters, digits and "_.-", not among those taken."""
    # Marks are taken off letters ("é" is "e"); letters of other scripts have no ASCII form and are numbered instead.
    plain = "".join(c for c in unicodedata.normalize("NFKD", name.lower()) if not unicodedata.combining(c))
    if not any(c.isalnum() for c in plain) or any(c.isalnum() and not c.isascii() for c in plain):
        identifier = f"principle_{number}"
    else:
        plain = re.sub(r"[^a-z0-9_.-]+", "_", plain).strip("_.-")[:56]
        identifier = plain if plain[:1].isalpha() else f"p_{plain}".rstrip("_")
    unique, count = identifier, 1
    while unique in taken:
        count += 1
        unique = f"{identifier}_{count}"
    return unique


def principle(name: str, description: str, requests: list[tuple[str, str]], number: int, taken: set[str]) -> Principle:
    """A principle of weight 1 without rules; its id is made of the name, and is none of those taken."""
    identifier = _identifier(name, number, taken)
    unique = list(dict.fromkeys(requests))
    if len(unique) > MAX_TEXTS:
        raise InputError(
            f"The principle {identifier} has {len(unique)} requests; at most {MAX_TEXTS} are allowed.",
            next_step="Delete some of them.",
        )
    title = sanitize(re.sub(r"[\s_-]+", " ", name)).strip()
    title = title[:1].upper() + title[1:] if title else truncate(description or unique[0][0], 60)
    return Principle(
        id=identifier,
        title=title[:120] or identifier,
        short=(identifier if identifier.isascii() and not identifier.startswith("principle_") else title)[:24].strip(),
        description=description or unique[0][0],
        weight=1.0,
        critiques=tuple(critique for critique, _ in unique),
        revisions=tuple(revision for _, revision in unique),
    )
