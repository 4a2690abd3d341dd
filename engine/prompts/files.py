"""Reads the bytes of a user's file: compression, encoding, and what its content says about its format.

Knows nothing of rows or prompts. Everything that can be wrong with a file ends as `InputError` with the file, the line
where there is one, and what to do.
"""

from __future__ import annotations

import io
import re
import zlib
from pathlib import Path
from typing import IO, Any

from engine.errors import InputError
from engine.files import expanded, missing_advice, similar_path
from engine.prompts.hub_datasets import is_dataset, read_parquet
from engine.text import sanitize, truncate

MAX_FILE_BYTES = 256 * 1024 * 1024
"""Larger files are refused, before and after decompression: every prompt is held in memory for the whole run."""

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Longer lines are refused; it is above what a text of a million characters needs, escapes included."""

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
PARQUET, ARROW = b"PAR1", b"ARROW1"

_CHUNK = 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_FOREIGN = {
    b"PK\x03\x04": ("a ZIP archive, as spreadsheets are", "Save the sheet as CSV (UTF-8), or unpack the archive."),
    b"%PDF": ("a PDF", "Copy its text into a plain text file, one prompt per line."),
    b"GGUF": ("a GGUF model", "Name it with --generator; prompts come from text, CSV or JSON files."),
    b"version https://git-lfs": ("a Git LFS pointer", "Run `git lfs pull` in its folder."),
    b"SQLite format 3": ("an SQLite database", "Export the table as CSV or JSON lines."),
    b"BZh": ("compressed with bzip2", "Unpack it first: bunzip2 FILE."),
    b"\xfd7zXZ\x00": ("compressed with xz", "Unpack it first: unxz FILE."),
}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def show(path: Path | str) -> str:
    """The path as it may be shown: no control characters, not endless."""
    return truncate(sanitize(str(path)).replace("\n", " "), 200)


def read_bytes(path: Path | str) -> bytes:
    """The file's bytes, decompressed (gzip, Zstandard), without a UTF-8 byte order mark; a dataset's as Parquet.

    Raises:
        InputError: no such file, a folder, unreadable, empty, too large, UTF-16, or not a text file (Parquet and Arrow
            files are returned as they are).
    """
    name = show(path)
    if is_dataset(path):
        return read_parquet(str(path))
    try:
        with expanded(path).open("rb") as file:
            data = _read_up_to_limit(file, name)
    except FileNotFoundError:
        raise InputError("there is no such file.", where=name, next_step=_missing_advice(path)) from None
    except IsADirectoryError:
        raise InputError("this is a folder.", where=name, next_step="Name one file in it.") from None
    except PermissionError:
        raise InputError("no permission to read it.", where=name, next_step="Check its owner and mode.") from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"it cannot be read ({sanitize(str(error))}).", where=name, next_step="Check the path."
        ) from None
    if not data.strip():
        raise InputError("the file is empty.", where=name, next_step="Write at least one row into it.")
    return data


def _missing_advice(path: Path | str) -> str:
    if re.match(r"\w{2,}:/", str(path)):
        return "This is an address: download the file, or name a dataset of the hub as hf:OWNER/NAME:SPLIT."
    place = expanded(path)
    if re.fullmatch(r"[\w-]+/[\w-]+", str(path)) and not (place.parent.is_dir() and similar_path(place)):
        return "Check the path; a dataset of the hub is named hf:OWNER/NAME:SPLIT."
    return missing_advice(place)


def is_table_file(data: bytes) -> bool:
    """Whether the bytes are a Parquet or Arrow file."""
    return data.startswith((PARQUET, ARROW))


def decode(data: bytes, name: str) -> str:
    """The bytes as text, line ends folded to newlines, without byte order marks where lines begin: files that were put
    behind each other have some.

    Raises:
        InputError: for bytes that are not UTF-8, with the line and the offset of the first one, and the encoding that
            there is evidence for.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"byte 0x{data[error.start]:02x} at offset {error.start} is not UTF-8.",
            where=f"{name}, line {line}",
            next_step=_encoding_advice(data, error),
        ) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.lstrip("\ufeff").replace("\n\ufeff", "\n")


def check_lines(text: str, name: str) -> None:
    """Refuse endless lines: a wrong file (or a wrong format) would only fail later, in a worse place.

    Raises:
        InputError: a line is longer than `MAX_LINE_BYTES`.
    """
    for number, line in enumerate(text.split("\n"), 1):
        # A character has at most four bytes, so short lines need no encoding.
        if len(line) * 4 > MAX_LINE_BYTES and (size := len(line.encode("utf-8", "replace"))) > MAX_LINE_BYTES:
            raise InputError(
                f"the line has {size:,} bytes; at most {MAX_LINE_BYTES:,} are read.",
                where=f"{name}, line {number}",
                next_step="Cut it, or check that the file is what its extension says.",
            )


def _encoding_advice(data: bytes, error: UnicodeDecodeError) -> str:
    """How to make the file UTF-8, by what its bytes say."""
    if error.end == len(data) and "unexpected end" in error.reason:
        return "The file ends inside a character, so it was cut off: copy or export it again."
    foreign = re.findall(rb"[\x80-\xff]+", data[: 1 << 20])
    valid = sum(_is_utf8(run) for run in foreign)
    if 2 * valid > len(foreign):
        return "Other characters of the file are valid UTF-8, so it is damaged at this place: retype this line."
    # Western texts have single letters of their own among plain ones; those of other scripts stand in rows.
    western = 2 * sum(len(run) == 1 for run in foreign) > len(foreign)
    # latin-1 would turn the quotes and dashes of windows-1252 into control characters.
    for name, codec in (("windows-1252", "cp1252"), ("macintosh", "mac_roman"), ("cp850", "cp850")):
        if western and _has_likely_letters(data[: 1 << 20], codec):
            return f"Save the file as UTF-8, or convert it: iconv -f {name} -t utf-8 FILE > NEW."
    return "Find out the encoding it was saved with (`file -i FILE` guesses it), and save it as UTF-8."


_UNLIKELY = re.compile(
    r"[a-zß-ÿ](?![A-Z])[^\W\d_a-zß-ÿœšž]|(?<=[^\W\d_])(?:[^\x00-\x7f\w’‘–—…·]\w|[‚„†‡ˆ‰])|[\x80-\x9f]"
)
"""Signs of a wrong encoding: a capital inside a word, a sign between two letters, a low quote behind one."""


def _has_likely_letters(data: bytes, codec: str) -> bool:
    try:
        return not _UNLIKELY.search(data.decode(codec))
    except UnicodeDecodeError:
        return False


def _is_utf8(run: bytes) -> bool:
    try:
        run.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _read_up_to_limit(file: IO[bytes], name: str) -> bytes:
    start = file.read(64)
    source: IO[bytes] = _Joined(start, file)  # type: ignore[assignment]
    if start.startswith(GZIP):
        source = _decompressed(_gzip_stream(source), "gzip", name)
    elif start.startswith(ZSTD):
        source = _decompressed(_zstd_stream(source, name), "Zstandard", name)
    return _read_plain(source, name)


class _Joined:
    """A stream with its first bytes put back; pipes cannot seek."""

    def __init__(self, start: bytes, rest: IO[bytes]) -> None:
        self._start, self._rest = start, rest

    def read(self, size: int = _CHUNK) -> bytes:
        if self._start:
            start, self._start = self._start, b""
            return start
        return self._rest.read(size)


def _read_plain(file: IO[bytes], name: str) -> bytes:
    chunks: list[bytes] = []
    size = 0
    binary = False
    while chunk := file.read(_CHUNK):
        if not chunks:
            binary = is_table_file(chunk)
            _refuse_foreign(chunk, name)
        if not binary and (at := chunk.find(b"\0")) >= 0:
            raise _nul_error(chunk, size + at, name)
        size += len(chunk)
        if size > MAX_FILE_BYTES:
            raise InputError(
                f"it is larger than {MAX_FILE_BYTES // 1024**2} MB.", where=name, next_step="Split it, or use a part."
            )
        chunks.append(chunk)
    return b"".join(chunks).removeprefix(_BOM)


def _refuse_foreign(start: bytes, name: str) -> None:
    for magic, (what, next_step) in _FOREIGN.items():
        if start.startswith(magic):
            raise InputError(f"this is {what}, not a text file.", where=name, next_step=next_step)
    if start[:4] in {b"\xff\xfe\0\0", b"\0\0\xfe\xff"}:
        raise InputError(
            "it is UTF-32, not UTF-8.", where=name, next_step="Convert it: iconv -f utf-32 -t utf-8 FILE > NEW."
        )
    if start[:2] in _UTF16:
        raise InputError(
            "it is UTF-16, not UTF-8.", where=name, next_step="Convert it: iconv -f utf-16 -t utf-8 FILE > NEW."
        )


def _nul_error(chunk: bytes, offset: int, name: str) -> InputError:
    for start, encoding in ((1, "utf-16le"), (0, "utf-16be")):
        part = chunk[start:2000:2]
        if len(chunk) >= 4 and (part.count(0) > 0.8 * len(part) or _reads_as(chunk[:2000], encoding)):
            return InputError(
                f"it looks like UTF-16 without a byte order mark (a NUL byte at offset {offset}).",
                where=name,
                next_step=f"Convert it: iconv -f {encoding} -t utf-8 FILE > NEW.",
            )
    return InputError(
        f"there is a NUL byte at offset {offset}; this is not a text file.",
        where=name,
        next_step="Use plain text, CSV, JSON or JSON lines in UTF-8.",
    )


def _reads_as(data: bytes, encoding: str) -> bool:
    """Whether the bytes are words in this encoding: letters of few alphabets, spaces, and common punctuation."""
    text = data[: len(data) // 2 * 2].decode(encoding, "replace")
    plain = sum(c.isalnum() or c.isspace() or c in ".,:;!?'\"-()" for c in text)
    return len(text) >= 8 and len({ord(c) >> 8 for c in text}) <= 4 and plain > 0.9 * len(text)


def _decompressed(stream: Any, kind: str, name: str) -> IO[bytes]:
    class Stream(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            try:
                return bytes(stream.read(size))
            except (OSError, EOFError, ValueError, zlib.error, RuntimeError) as error:
                raise InputError(
                    f"the {kind} data is damaged ({sanitize(str(error))}).", where=name, next_step="Copy it again."
                ) from None

    return Stream()  # type: ignore[return-value]


def _gzip_stream(source: IO[bytes]) -> Any:
    import gzip

    return gzip.GzipFile(fileobj=io.BufferedReader(_Raw(source)))


def _zstd_stream(source: IO[bytes], name: str) -> Any:
    try:
        import pyarrow as arrow
    except ImportError:
        raise InputError(
            "reading Zstandard files needs the package pyarrow.",
            where=name,
            next_step="Install it: pip install pyarrow. Or unpack the file first: unzstd FILE.",
        ) from None
    return arrow.CompressedInputStream(arrow.PythonFile(io.BufferedReader(_Raw(source)), mode="r"), "zstd")


class _Raw(io.RawIOBase):
    """What `io.BufferedReader` needs of a stream that only has `read`."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._left or self._source.read(len(buffer))
        taken, self._left = data[: len(buffer)], data[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)
