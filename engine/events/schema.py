"""Typed events: one frozen dataclass is the schema, the writer, the reader and the documentation of a stage.

A field says where in a record it stands (`data`, `text`, `raw`, or a number in the stage's name) and what it means:

    @dataclass(frozen=True, kw_only=True)
    class Draft(Event):
        \"\"\"The generator's first answer to a training prompt.\"\"\"

        STAGE = "INITIAL-GENERATION"
        level: int = KEY
        draft: str = text("The answer.")
        tokens: int = data("Tokens generated.")

Reading is strict about members that the class declares (`DamagedEvent`) and keeps all others in `unknown`.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any, ClassVar, Self, TypeVar, Union

from engine.events.base import SUMMARY, Record

_MAX_INT = 1 << 63

_M = TypeVar("_M", bound="Members")


class DamagedEvent(ValueError):
    """A whole record whose members are not what its stage declares: damage, or another program's record."""


def data(doc: str, *, key: str = "", absent: Any = MISSING, optional: bool = False, digits: int | None = None) -> Any:
    """A field in the record's `data`.

    Args:
        doc: one sentence for the reference, with the unit.
        key: its name in the record, where that is not the field's.
        absent: what a record without the key is read as; if not given, such a record is damaged. Writers must always
            pass a value.
        optional: None by default, and then left out of the record.
        digits: decimals that are kept.
    """
    if optional:
        return field(default=None, metadata=_metadata("data", doc, key, None, True, digits))
    return field(metadata=_metadata("data", doc, key, absent, False, digits))


def text(doc: str, *, label: str = "", optional: bool = False) -> Any:
    """A field in the record's `texts`; an `optional` one is "" by default, and then left out of the record."""
    return _labeled("texts", doc, label, optional)


def raw(doc: str, *, label: str = "", optional: bool = False) -> Any:
    """A field in the record's `raw`, in the same way."""
    return _labeled("raw", doc, label, optional)


def in_name(doc: str) -> Any:
    """A number in the stage's name; 0 where an older record's name has none."""
    return field(metadata=_metadata("stage", doc, "", 0, False, None))


def _labeled(where: str, doc: str, label: str, optional: bool) -> Any:
    metadata = _metadata(where, doc, label, "", optional, None)
    return field(default="", metadata=metadata) if optional else field(metadata=metadata)


def _metadata(where: str, doc: str, key: str, absent: Any, optional: bool, digits: int | None) -> dict[str, Any]:
    return {"where": where, "doc": doc, "key": key, "absent": absent, "optional": optional, "digits": digits}


@dataclass(frozen=True)
class Member:
    """A declared member of a record: a field with its reader and writer.

    Args:
        name: the field's name.
        where: "data", "texts", "raw" or "stage".
        key: the key or label in the record.
        kind: its type, for the reference, such as "integer or null".
        doc: one sentence for the reference.
        absent: the value where the record has no such key; MISSING where it must have one.
        optional: left out of the record where it is None or "".
        members: the class of the objects that it holds; None where it holds none.
        read, write: a JSON value to the field's value and back; `read` raises ValueError.
    """

    name: str
    where: str
    key: str
    kind: str
    doc: str
    absent: Any
    optional: bool
    members: type[Members] | None
    read: Callable[[Any], Any]
    write: Callable[[Any], Any]

    @property
    def numbered(self) -> bool:
        """Whether the key ends in any number: "candidate *"."""
        return self.key.endswith("*")


@dataclass(frozen=True)
class _Schema:
    data: tuple[Member, ...]
    texts: tuple[Member, ...]
    raw: tuple[Member, ...]
    stage: tuple[Member, ...]
    required: frozenset[str]
    keys: frozenset[str]
    readers: tuple[tuple[str, str, type | None, Callable[[Any], Any], Any], ...]
    """Of `data`: field, key, the type whose values need no reading, reader, value where the key is missing."""


@dataclass(frozen=True, kw_only=True)
class Members:
    """A JSON object with declared members: a record's `data`, or an object in it.

    Args:
        unknown: members that the class does not declare, as they were read.
    """

    unknown: Mapping[str, Any] = field(default_factory=dict)

    def to_data(self) -> dict[str, Any]:
        """The object as JSON types; non-finite numbers are null."""
        values = self.__dict__
        made: dict[str, Any] = {}
        for member in schema(type(self)).data:
            value = values[member.name]
            if value is not None or not member.optional:
                made[member.key] = member.write(value)
        return {**made, **self.unknown} if self.unknown else made

    @classmethod
    def from_data(cls, record: Mapping[str, Any]) -> Self:
        """The object that `to_data` wrote.

        Raises:
            DamagedEvent: a declared member is missing or of another type.
        """
        values, unknown = _read_data(cls, record)
        values["unknown"] = unknown
        return _made(cls, values)


@dataclass(frozen=True, kw_only=True)
class Event(Members):
    """Something that happened in a run. Subclasses declare what it carries.

    Args:
        item: id of the prompt or text that it is about; "" for none.
        summary: one line without a word of any prompt or answer.
        level: the lowest verbosity that shows it.
        unknown_texts, unknown_raw: labels that the class does not declare, as they were read.
    """

    STAGE: ClassVar[str] = ""
    """The stage's name, with the fields that stand in it in braces: "EPOCH-{epoch}-BATCH-{batch}"."""

    item: str = ""
    summary: str = ""
    level: int = SUMMARY
    unknown_texts: Mapping[str, str] = field(default_factory=dict)
    unknown_raw: Mapping[str, str] = field(default_factory=dict)

    @property
    def stage_name(self) -> str:
        """The stage as it stands in a record, with its numbers."""
        return self.STAGE.format_map(self.__dict__)

    def to_texts(self) -> dict[str, str]:
        """The record's `texts`."""
        return _write_labels(self, schema(type(self)).texts, self.unknown_texts)

    def to_raw(self) -> dict[str, str]:
        """The record's `raw`."""
        return _write_labels(self, schema(type(self)).raw, self.unknown_raw)

    def to_record(self, seq: int, time: float) -> Record:
        """The event as a record of a journal."""
        return Record(
            seq,
            time,
            self.stage_name,
            self.level,
            self.summary,
            self.item,
            self.to_texts(),
            self.to_raw(),
            self.to_data(),
        )

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The event that `to_record` wrote.

        Raises:
            DamagedEvent: a declared member is missing or of another type.
        """
        known = schema(cls)
        values, unknown = _read_data(cls, record.data)
        values["unknown"] = unknown
        values["unknown_texts"] = _read_labels(values, known.texts, record.texts)
        values["unknown_raw"] = _read_labels(values, known.raw, record.raw)
        if "{" in cls.STAGE:
            match = name_pattern(cls).fullmatch(record.stage)
            numbers = match.groupdict() if match else {}
            for member in known.stage:
                values[member.name] = int(numbers.get(member.name) or 0)
        values["item"], values["summary"], values["level"] = record.item, record.summary, record.level
        return _made(cls, values)


_SCHEMAS: dict[type[Members], _Schema] = {}
_NAMES: dict[type[Members], re.Pattern[str]] = {}


def schema(cls: type[Members]) -> _Schema:
    """The declared members of a class, by where in a record they stand."""
    found = _SCHEMAS.get(cls)
    if found is None:
        found = _SCHEMAS[cls] = _declared(cls)
    return found


def name_pattern(cls: type[Event]) -> re.Pattern[str]:
    """Matches the stage names of a class's records; " i/n" at the end may be missing."""
    found = _NAMES.get(cls)
    if found is None:
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\d{1,18})", re.escape(cls.STAGE))
        head, space, counter = pattern.partition(r"\ ")
        found = _NAMES[cls] = re.compile(f"{head}(?:{space}{counter})?" if space else head)
    return found


def _declared(cls: type[Members]) -> _Schema:
    hints = typing.get_type_hints(cls)
    members: dict[str, list[Member]] = {"data": [], "texts": [], "raw": [], "stage": []}
    for one in dataclasses.fields(cls):
        about = one.metadata
        if not about:
            continue
        kind, read, write = _converters(hints[one.name])
        if about["digits"] is not None:
            write = _rounded(about["digits"])
        members[about["where"]].append(
            Member(
                name=one.name,
                where=about["where"],
                key=about["key"] or one.name,
                kind=kind,
                doc=about["doc"],
                absent=about["absent"],
                optional=about["optional"],
                members=_members_in(hints[one.name]),
                read=read,
                write=write,
            )
        )
    return _Schema(
        data=tuple(members["data"]),
        texts=tuple(members["texts"]),
        raw=tuple(members["raw"]),
        stage=tuple(members["stage"]),
        required=frozenset(member.key for member in members["data"] if member.absent is MISSING),
        keys=frozenset(member.key for member in members["data"]),
        readers=tuple(
            (member.name, member.key, _EXACT.get(member.read), member.read, member.absent) for member in members["data"]
        ),
    )


def _made(cls: type[_M], values: dict[str, Any]) -> _M:
    """An object with these fields. Its constructor would set them one by one: four times the cost per record."""
    made = object.__new__(cls)
    made.__dict__.update(values)
    return made


def _read_data(cls: type[Members], record: Mapping[str, Any]) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """The fields in `data`, and the members that are not declared."""
    declared = schema(cls)
    values: dict[str, Any] = {}
    missing = 0
    key = ""
    try:
        for name, key, exact, read, absent in declared.readers:
            value = record.get(key, MISSING)
            if type(value) is exact:
                values[name] = value
            elif value is MISSING:
                missing += 1
                values[name] = absent
            else:
                values[name] = read(value)
    except ValueError as error:
        raise DamagedEvent(f"{cls.__name__}: member {key!r}: {error}") from error
    if missing and not declared.required <= record.keys():
        raise DamagedEvent(f"{cls.__name__}: missing members: {', '.join(sorted(declared.required - record.keys()))}")
    if len(declared.readers) - missing == len(record):
        return values, _NOTHING
    return values, {key: value for key, value in record.items() if key not in declared.keys}


def _read_labels(values: dict[str, Any], members: tuple[Member, ...], record: Mapping[str, str]) -> Mapping[str, str]:
    """Add the fields of `texts` or `raw` to `values`; returns the labels that are not declared."""
    known = 0
    for member in members:
        if member.numbered:
            stem = member.key[:-1]
            found = {key[len(stem) :]: value for key, value in record.items() if key.startswith(stem)}
            values[member.name] = found
            known += len(found)
        else:
            value = record.get(member.key)
            values[member.name] = "" if value is None else value
            known += value is not None
    if known == len(record):
        return _NOTHING
    return {key: value for key, value in record.items() if not any(_declares(member, key) for member in members)}


def _declares(member: Member, label: str) -> bool:
    return label.startswith(member.key[:-1]) if member.numbered else label == member.key


def _write_labels(event: Event, members: tuple[Member, ...], unknown: Mapping[str, str]) -> dict[str, str]:
    values = event.__dict__
    made: dict[str, str] = {}
    for member in members:
        value = values[member.name]
        if member.numbered:
            made |= {f"{member.key[:-1]}{number}": one for number, one in value.items()}
        elif value or not member.optional:
            made[member.key] = value
    return {**made, **unknown} if unknown else made


_Converters = tuple[str, Callable[[Any], Any], Callable[[Any], Any]]


def _converters(hint: Any) -> _Converters:
    """What a field's type is called in the reference, and its reader and writer."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        (inner,) = (one for one in arguments if one is not types.NoneType)
        name, read, write = _converters(inner)
        return f"{name} or null", _or_none(read), _or_none(write)
    if origin is tuple:
        name, read, write = _converters(arguments[0])
        return f"list of {_inner(name)}", _list_reader(read), lambda value: [write(one) for one in value]
    if origin is not None and issubclass(origin, Mapping):
        name, read, write = _converters(arguments[1])
        kind = "object" if arguments[1] is Any else f"object of {_inner(name)}"
        return kind, _object_reader(read), lambda value: {key: write(one) for key, one in value.items()}
    if isinstance(hint, type) and issubclass(hint, Members):
        return "object", _members_reader(hint), lambda value: value.to_data()
    raise TypeError(f"an event cannot hold {hint}")


def _inner(name: str) -> str:
    return f"({name})" if " " in name else name


def _members_in(hint: Any) -> type[Members] | None:
    """The class of the objects that a field of this type holds."""
    if isinstance(hint, type) and issubclass(hint, Members):
        return hint
    found = [_members_in(one) for one in typing.get_args(hint)]
    return next((one for one in found if one is not None), None)


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("expected true or false")
    return value


def _int(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _MAX_INT:
        raise ValueError("expected a whole number, 0 or more")
    return value


def _float(value: Any) -> float:
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is int and abs(value) < _MAX_INT:
        return value  # as it was written: a run and its resumption must write the same bytes
    raise ValueError("expected a finite number")


def _str(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("expected a string")
    return value


def _same(value: Any) -> Any:
    return value


def _finite(value: Any) -> Any:
    return value if math.isfinite(value) else None


_PLAIN: dict[Any, _Converters] = {
    bool: ("boolean", _bool, _same),
    int: ("integer", _int, _same),
    float: ("number", _float, _finite),
    str: ("string", _str, _same),
    Any: ("any", _same, _same),
}


_EXACT: dict[Any, type] = {_bool: bool, _str: str}
"""Reader -> the type whose every value it returns as it is."""

_NOTHING: Mapping[str, Any] = types.MappingProxyType({})


def _rounded(digits: int) -> Callable[[Any], Any]:
    def write(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, Mapping):
            return {key: write(one) for key, one in value.items()}
        return round(value, digits) if math.isfinite(value) else None

    return write


def _or_none(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else convert(value)


def _list_reader(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise ValueError("expected a list")
        return tuple([read(one) for one in value])

    return convert


def _object_reader(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError("expected an object")
        return value if read is _same else {key: read(one) for key, one in value.items()}

    return convert


def _members_reader(cls: type[Members]) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError("expected an object")
        return cls.from_data(value)

    return convert
