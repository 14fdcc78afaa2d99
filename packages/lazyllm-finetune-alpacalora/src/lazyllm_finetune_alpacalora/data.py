"""Training data: JSON lists, JSONL files and folders of them, read and checked without any third-party module.

The caller's process checks with the same reader that the training process later encodes from, so a record that
passes here cannot fail there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lazyllm.errors import DataError, near

from .records import check_record

Kind = Literal["alpaca", "messages"]
Record = dict[str, Any]


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
        found = tuple(sorted(p for p in path.rglob("*") if p.suffix in (".json", ".jsonl") and p.is_file()))
        if not found:
            raise DataError(f"The data folder {path} holds no .json or .jsonl file.")
        return found
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir() if not p.is_dir()] if path.parent.is_dir() else []
        nearest = f" {near(path.name, siblings)}" if 0 < len(siblings) <= 200 else ""
        raise DataError(f"There is no data file {path}.{nearest}")
    return (path,)


def read(path: str | Path) -> Iterator[Record]:
    """Yield the checked records of a data set, one file after another. All are alpaca records or all are chats."""
    kind: str | None = None
    first = ""
    for file in data_files(path):
        empty = True
        for where, record in _read_file(file):
            found = check_record(record, where)
            kind, first = kind or found, first or where
            if found != kind:
                raise DataError(
                    f"{where} is a record with {_KEYS[found]}, but {first} has {_KEYS[kind]}; "
                    "one training takes one kind, since each kind is asked in its own template."
                )
            empty = False
            yield record
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
        with file.open(encoding="utf-8-sig") as stream:
            start = ""
            while not start and (line := stream.readline()):
                start = line.lstrip()
            stream.seek(0)
            if file.suffix == ".jsonl" or (start.startswith("{") and _is_object(start)):
                yield from _read_lines(file, stream)
            else:
                yield from _read_list(file, stream.read())
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text: byte {error.start} cannot be read ({error.reason}).") from None
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}.") from None


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _read_lines(file: Path, stream: Any) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(stream, 1):
        if line.strip():
            try:
                yield f"{file}, line {number}", json.loads(line)
            except json.JSONDecodeError as error:
                raise _malformed(file, number, error.colno, error.msg) from None
            except RecursionError:
                raise _malformed(file, number, 1, "nested too deeply") from None


def _read_list(file: Path, text: str) -> Iterator[tuple[str, Any]]:
    if not text.strip():
        return
    try:
        records = json.loads(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        raise _malformed(file, error.lineno, error.colno, error.msg) from None
    except RecursionError:
        raise _malformed(file, 1, 1, "nested too deeply") from None
    if not isinstance(records, list):
        raise DataError(
            f"{file} holds one JSON {type(records).__name__}; expected a list of records, or one record a line."
        )
    for number, record in enumerate(records, 1):
        yield f"{file}, record {number}", record


def _malformed(file: Path, line: int, column: int, message: str) -> DataError:
    return DataError(f"{file} is not valid JSON at line {line}, column {column}: {message}.")
