"""Reads safety policies, as moderation models such as gpt-oss-safeguard take them, and packs of policies with labeled
texts.

A policy is a Markdown document whose headings define labels. Three forms are known:

- codes: `## Allowed content (SP0 - ...)`, `## Likely spam (SP2 - ...)`: each code above 0 becomes a principle with that
  code as id and its number as weight;
- numbers: `## VIOLATES (1)`, `## SAFE (0)`; or
- `### Includes`, `### Excludes`: each item of the list below the first becomes a principle.

A pack is a folder of such documents, each in a folder of its own or alone, with tables of labeled texts. A table
belongs to the policy whose codes it uses, else to the one whose name it has. Its rows become tests of the principles: a
text with a code tests the principle of that code, one that is allowed tests every principle of its policy.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.constitution.check import MAX_PRINCIPLES, MAX_TEXT_LENGTH, MAX_TEXTS
from engine.constitution.importers import markdown_sections, principle, stated
from engine.constitution.model import Constitution, Principle, PrincipleTest
from engine.errors import InputError, StorageError
from engine.prompts.labeled_rows import LabeledRow, is_labeled, read_labeled_rows
from engine.text import sanitize

_CODE = re.compile(r"\b([A-Z]{2,8})(\d{1,2})\b")
_NUMBER = re.compile(r"\((\d)\)\s*$")
_WORDS = {"includes": 1, "excludes": 0}
_BRACKET = re.compile(r"\s*\([^()]*\)\s*$")
_ITEM = re.compile(r"(\s*)(?:[-*+]|\d{1,4}[.)])\s+(\S.*)")
_ITEM_CODE = re.compile(r"[A-Z]{1,8}\d{1,2}\.[a-z]\s+")
_QUOTED = re.compile(r'["“]([^"“”]{3,})["”]')
_ARROW = re.compile(r'["“]([^"“”]{3,})["”]\s*(?:->|→|=>)\s*`?([A-Z]{2,8}\d{1,2})`?')
_NOT_TEXT = re.compile(r"(?:output|examples?)\s*:.*", re.IGNORECASE)
_POLICY_FILES = {".md", ".markdown", ".txt"}
_TABLES = {".csv", ".tsv", ".jsonl", ".ndjson"}
_README = "readme"


@dataclass(frozen=True)
class _Section:
    """A heading that defines a label.

    Args:
        code: such as "SP2"; "" where the heading has a number or a word only.
        number: of the label; 0 for what is allowed.
        title: without the code.
        line: of the heading.
        text: the paragraphs below it.
        items: those of its list, each with the lines nested below it.
    """

    code: str
    number: int
    title: str
    line: int
    text: str
    items: tuple[str, ...]


def is_policy(text: str) -> bool:
    """Whether a Markdown document defines labels, one of them for what is allowed."""
    return bool(_labels(text))


def _principles(rules: Iterable[_Rule], source: str) -> list[Principle]:
    taken: set[str] = set()
    principles: list[Principle] = []
    for rule in rules:
        name, description, requests = stated(rule.statement, f"{source}, line {rule.line}", rule.name)
        made = principle(name, description, requests, len(principles) + 1, taken)
        principles.append(replace(made, weight=rule.weight, title=sanitize(rule.title[:120])))
        taken.add(made.id)
    return principles


def _policy_name(path: Path) -> str:
    """The file's name; its folder's, where that says more."""
    return path.parent.name if path.stem.casefold() == "policy" and path.parent.name else path.stem


def _unused(text: str, sections: Sequence[_Section]) -> list[str]:
    """Titles of the document's sections that are none of these."""
    used = {section.line for section in sections}
    return [title for title, line, body in markdown_sections(text) if title and body and line not in used]


def import_policy(text: str, source: str, sha256: str, rows: Sequence[LabeledRow] = ()) -> Constitution:
    """The constitution of one policy.

    Args:
        rows: labeled texts, which become tests.

    Raises:
        InputError: there are too many principles, or the text of one is too long.
    """
    sections = _labels(text)
    allowed = [section for section in sections if section.number == 0]
    broken = [section for section in sections if section.number > 0]
    principles = _principles(_rules(broken, allowed), source)
    if len(principles) > MAX_PRINCIPLES:
        raise InputError(
            f"The policy makes {len(principles)} principles; at most {MAX_PRINCIPLES} are allowed.",
            where=source,
            next_step="Divide it, or join rules.",
        )
    notices = [
        f"{source}: read as a safety policy: {len(principles)} principle drafts; what is allowed is in the texts."
    ]
    if others := _unused(text, sections):
        notices.append(f"{source}: sections not used: {', '.join(sanitize(title[:64]) for title in others[:12])}.")
    labeled = rows or tuple(_examples(text, sections, source))
    principles, left_out = _with_tests(principles, labeled)
    if left_out:
        reasons = "; ".join(f"{reason} ({count})" for reason, count in left_out.items())
        notices.append(f"{source}: labeled texts that are no tests: {reasons}.")
    return Constitution(_policy_name(Path(source)), tuple(principles), source, sha256, tuple(notices))


def import_policy_file(path: Path, text: str, data: bytes) -> Constitution:
    """The constitution of a policy in a file, with the tables next to it whose rows are labeled by it.

    Args:
        text, data: the file's content, decoded and as it is.

    Raises:
        InputError: as `import_policy`, or such a table cannot be read.
    """
    rows: list[LabeledRow] = []
    digest = hashlib.sha256(data)
    for table in sorted(one for one in path.parent.iterdir() if one.suffix.lower() in _TABLES and one.is_file()):
        found = tuple(read_labeled_rows(table)) if is_labeled(table) else ()
        if _owner(table, found, {path: text}):
            rows += found
            digest.update(table.read_bytes())
    return import_policy(text, str(path), digest.hexdigest(), rows)


def import_pack(folder: Path) -> Constitution:
    """The constitution of all policies in a folder.

    Raises:
        InputError: there is no policy in it, two define the same code, or a table cannot be read.
        StorageError: a file cannot be read.
    """
    files = _files(folder)
    texts = _policy_texts(files, folder)
    tables = [path for path in files if path.suffix.lower() in _TABLES and is_labeled(path)]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in (*texts, *tables))).hexdigest()
    notices: list[str] = []
    principles: list[Principle] = []
    rows = {path: tuple(read_labeled_rows(path)) for path in tables}
    owners = {path: _owner(path, found, texts) for path, found in rows.items()}
    unowned = [str(path.relative_to(folder)) for path, owner in owners.items() if owner is None]
    if unowned:
        notices.append(f"{folder}: labeled texts of no policy are not used: {', '.join(unowned[:12])}.")
    for path, text in texts.items():
        own = [row for table, found in rows.items() if owners[table] == path for row in found]
        made = import_policy(text, str(path), "", own)
        principles += made.principles
        notices += made.notices
    _refuse_twins(principles, folder)
    return Constitution(folder.resolve().name, tuple(principles), str(folder), digest, tuple(notices))


def _policy_texts(files: Sequence[Path], folder: Path) -> dict[Path, str]:
    """The policies among a folder's files."""
    named = (path for path in files if path.suffix.lower() in _POLICY_FILES and path.stem.lower() != _README)
    texts = {path: text for path in named if is_policy(text := _text(path))}
    if not texts:
        raise InputError(
            "This is a folder without a safety policy.",
            where=str(folder),
            next_step="Name one file: TOML, JSON, CSV or Markdown; or the folder of a policy.md.",
        )
    return texts


def _refuse_twins(principles: Sequence[Principle], folder: Path) -> None:
    """Raise `InputError` if two principles have the same id."""
    twice = [name for name, count in Counter(one.id for one in principles).items() if count > 1]
    if twice:
        raise InputError(
            f"two policies define the principle {twice[0]}.",
            where=str(folder),
            next_step="Name the file of one of them.",
        )


def _labels(text: str) -> list[_Section]:
    """The sections that define labels: of the first code, or else numbers, or words, that come with one for what is
    allowed; empty where there is none."""
    groups: dict[str, list[_Section]] = {}
    for title, line, body in markdown_sections(text):
        if code := _CODE.search(title):
            prefix, number = code[1], int(code[2])
        elif found := _NUMBER.search(title):
            prefix, number = "(n)", int(found[1])
        elif title.strip(" :").casefold() in _WORDS:
            prefix, number = "words", _WORDS[title.strip(" :").casefold()]
        else:
            continue
        name = _BRACKET.sub("", title).strip() or title
        paragraphs, items = _parts(body)
        groups.setdefault(prefix, []).append(
            _Section(f"{prefix}{number}" if code else "", number, name, line, paragraphs, tuple(items))
        )
    complete = (group for group in groups.values() if {0} < {section.number for section in group})
    return next(complete, [])


def _parts(body: Sequence[str]) -> tuple[str, list[str]]:
    """The paragraphs of a section, and the items of its list with what is nested below each."""
    paragraphs: list[str] = []
    items: list[str] = []
    margin = 0
    for line in body:
        item = _ITEM.fullmatch(line)
        if item and (not items or len(item[1]) <= margin):
            margin = len(item[1])
            items.append(item[2].strip())
        elif items and line.startswith((" ", "\t")):
            items[-1] += " " + (f"{item[2].strip()};" if item else line.strip())
        elif not _NOT_TEXT.fullmatch(line.strip()):
            paragraphs.append(line.strip())
    return " ".join(paragraphs), [_ITEM_CODE.sub("", item).rstrip(";") for item in items]


@dataclass(frozen=True)
class _Rule:
    """What becomes a principle; its id is made of the name."""

    weight: float
    name: str
    title: str
    statement: str
    line: int


def _exception(allowed: Sequence[_Section]) -> str:
    """What every rule says of what the policy allows, with a leading space; empty where it allows nothing."""
    free = "; ".join(_name(item) for section in allowed for item in section.items)
    free = free or " ".join(section.text for section in allowed)
    return f" Allowed: {free}." if free else ""


def _rules(broken: Sequence[_Section], allowed: Sequence[_Section]) -> Iterator[_Rule]:
    exception = _exception(allowed)
    for section in broken:
        if section.code or not section.items:
            names = "; ".join(_name(item) for item in section.items)
            kind = " ".join(part for part in (section.text, f"This includes: {names}." if names else "") if part)
            statement = f"Answers contain nothing of this kind: {kind or section.title}"
            text = _shortened(statement, exception)
            yield _Rule(float(section.number), section.code or section.title, section.title, text, section.line)
            continue
        for item in section.items:
            statement = f"Answers contain nothing of this kind: {item.replace('**', '').rstrip('.')}."
            yield _Rule(1.0, _name(item), _name(item), _shortened(statement, exception), section.line)


def _shortened(statement: str, exception: str) -> str:
    """The statement with what is allowed, where that leaves room for requests that quote it."""
    whole = statement + exception
    return whole if len(whole) <= MAX_TEXT_LENGTH - 100 else statement


def _name(item: str) -> str:
    """What an item is about: its text before a colon, without marks and quotations."""
    name = re.split(r":\s|:\*\*|:$", _QUOTED.sub("", item), maxsplit=1)[0]
    return " ".join(name.replace("*", "").split())[:120].strip(" :;,.") or item[:120]


def _examples(text: str, sections: Sequence[_Section], source: str) -> Iterator[LabeledRow]:
    """The texts that the document itself quotes with a label."""
    seen: set[str] = set()
    for quoted, code in _ARROW.findall(text):
        if quoted not in seen:
            seen.add(quoted)
            number = int(re.sub(r"\D", "", code))
            yield LabeledRow(source, sanitize(quoted), "", number > 0, code.lower())
    for section in sections:
        for quoted in (found for item in section.items for found in _QUOTED.findall(item)):
            if quoted not in seen:
                seen.add(quoted)
                yield LabeledRow(source, sanitize(quoted), "", section.number > 0, section.code.lower())


def _with_tests(
    principles: Sequence[Principle], rows: Sequence[LabeledRow]
) -> tuple[list[Principle], Mapping[str, int]]:
    """The principles with the rows as tests, and why how many rows are none."""
    ids = {one.id for one in principles}
    tests: dict[str, dict[PrincipleTest, None]] = {one.id: {} for one in principles}
    left_out: Counter[str] = Counter()
    for row in rows:
        if len(row.text) > MAX_TEXT_LENGTH or len(row.prompt) > MAX_TEXT_LENGTH:
            left_out[f"longer than {MAX_TEXT_LENGTH:,} characters"] += 1
            continue
        own = row.code if row.code in ids else next(iter(ids)) if len(ids) == 1 else ""
        if row.label and not own:
            left_out["the label names no single principle"] += 1
            continue
        for name in (own,) if row.label else tests:
            if len(tests[name]) < MAX_TEXTS:
                tests[name][PrincipleTest(row.text, row.label, row.prompt)] = None
            else:
                left_out[f"more than {MAX_TEXTS} for {name}"] += 1
    return [replace(one, tests=tuple(tests[one.id])) for one in principles], left_out


def _owner(table: Path, rows: Sequence[LabeledRow], texts: Mapping[Path, str]) -> Path | None:
    """The policy that a table's labels are of: by its codes, else by its name or folder."""
    codes = {row.code for row in rows if row.code}
    for path, text in texts.items():
        if codes & {section.code.lower() for section in _labels(text) if section.code}:
            return path
    named = [path for path in texts if table.stem in (path.stem, path.parent.name) or table.parent == path.parent]
    return named[0] if len(named) == 1 and not codes and rows else None


def _files(folder: Path) -> list[Path]:
    """The files of a folder, down to two levels below it; none whose name begins with a dot."""
    try:
        found = [path for pattern in ("*", "*/*", "*/*/*") for path in folder.glob(pattern)]
        return sorted(path for path in found if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise StorageError(f"The folder cannot be read: {error.strerror}.", where=str(folder)) from error


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig", "replace")
    except OSError as error:
        raise StorageError(f"The file cannot be read: {error.strerror}.", where=str(path)) from error
