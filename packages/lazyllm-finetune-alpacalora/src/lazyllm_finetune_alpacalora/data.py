"""Training data: JSON lists, JSONL files and folders of them, read and checked without any third-party module.

The caller's process checks with the same reader that the training process later encodes from, so a record that
passes here cannot fail there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from lazyllm.errors import DataError, near

from .records import check_record
from .values import name_of

Kind = Literal["alpaca", "messages"]
Record = dict[str, Any]

SUFFIXES = (".json", ".jsonl")
BOM = b"\xef\xbb\xbf"
LINES = "A .jsonl file holds one record a line; a list of records goes into a .json file."


@dataclass(frozen=True, slots=True)
class Survey:
    """What a data set holds: its files, the kind of its records and how many there are."""

    files: tuple[Path, ...]
    kind: Kind
    count: int


def data_files(path: str | Path) -> tuple[Path, ...]:
    """Return the files of a data set: the file itself, or all .json and .jsonl files below a folder, sorted."""
    path = Path(path).expanduser()
    if path.is_dir():
        found = tuple(sorted(file for file in path.rglob("*") if _is_data(file.relative_to(path)) and file.is_file()))
        if not found:
            raise DataError(f"The data folder {path} holds no .json or .jsonl file.")
        return found
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir() if not p.is_dir()] if path.parent.is_dir() else []
        nearest = f" {near(path.name, siblings)}" if 0 < len(siblings) <= 200 else ""
        raise DataError(f"There is no data file {path}.{nearest}")
    if not path.is_file():
        raise DataError(f"{path} is no regular file; data is read more than once, which a pipe does not allow.")
    return (path,)


def _is_data(path: Path) -> bool:
    # hidden ones are copies that editors and notebooks keep
    return path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts)


def read(path: str | Path) -> Iterator[Record]:
    """Yield the checked records of a data set, one file after another. All are alpaca records or all are chats."""
    return (record for _, record in placed(path))


def placed(path: str | Path) -> Iterator[tuple[str, Record]]:
    """Yield what `read` yields, each with its place: a file, and a line or a number."""
    kind: str | None = None
    first = ""
    for file in data_files(path):
        empty = True
        for where, record in _read_file(file):
            found = check_record(record, where, LINES if file.suffix.lower() == ".jsonl" else None)
            kind, first = kind or found, first or where
            if found != kind:
                raise DataError(
                    f"{where} is a record with {_KEYS[found]}, but {first} has {_KEYS[kind]}; "
                    "one training takes one kind, since each kind is asked in its own template."
                )
            empty = False
            yield where, record
        if empty:
            raise DataError(f"The data file {file} is empty: it holds no record.")


_KEYS = {"alpaca": "instruction and output", "messages": "messages"}


def survey(path: str | Path) -> Survey:
    """Read a data set once, check every record, and return what it holds."""
    count = 0
    kind: Kind = "alpaca"
    for record in read(path):
        if not count and "messages" in record:
            kind = "messages"
        count += 1
    return Survey(data_files(path), kind, count)


def _read_file(file: Path) -> Iterator[tuple[str, Any]]:
    try:
        with file.open("rb") as stream:
            start = next((line.lstrip() for _, line in _lines(stream) if line), b"")
            stream.seek(0)
            if file.suffix.lower() == ".jsonl" or (start.startswith(b"{") and _is_object(start)):
                yield from _read_lines(file, stream)
            else:
                yield from _read_list(file, stream.read())
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}.") from None


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _read_lines(file: Path, stream: BinaryIO) -> Iterator[tuple[str, Any]]:
    hint = LINES if file.suffix.lower() == ".jsonl" else None
    for number, line in _lines(stream):
        if line:
            yield f"{file}, line {number}", _parse(file, line, number, hint)


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield number and text of each line; one ends in LF, CR LF or CR, none of which JSON has within a string."""
    number = 0
    for block in stream:  # up to a LF
        for line in block.splitlines():
            number += 1
            yield number, (line.removeprefix(BOM) if number == 1 else line).rstrip()


def _read_list(file: Path, raw: bytes) -> Iterator[tuple[str, Any]]:
    raw = raw.removeprefix(BOM)
    if b"\r" in raw:  # json counts the lines of its errors by LF
        raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not raw.strip():
        return
    records = _parse(file, raw, 1, None)
    if not isinstance(records, list):
        raise DataError(f"{file} holds {name_of(records)}; expected a list of records, or one record a line.")
    for number, record in enumerate(records, 1):
        yield f"{file}, record {number}", record


def _parse(file: Path, raw: bytes, line: int, hint: str | None) -> Any:
    """Return the JSON value in `raw`, which begins at `line` of the file."""
    try:
        return json.loads(raw.decode())
    except UnicodeDecodeError as error:
        at = line + raw.count(b"\n", 0, error.start)
        raise DataError(
            f"{file} is not UTF-8 text: line {at} has the byte 0x{raw[error.start]:02x}, which cannot be read.",
            hint="iconv -f OLD_ENCODING -t UTF-8 makes it so.",
        ) from None
    except json.JSONDecodeError as error:
        at = line + error.lineno - 1
        raise DataError(
            f"{file} is not valid JSON at line {at}, column {error.colno}: {error.msg}.", hint=hint
        ) from None
    except RecursionError:
        raise DataError(f"{file} is not usable JSON at line {line}: nested too deeply.") from None
    except ValueError as error:  # a number of too many digits
        raise DataError(f"{file} is not usable JSON at line {line}: {error}.") from None
