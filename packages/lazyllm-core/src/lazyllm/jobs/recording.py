"""Making job records, whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError, LauncherError
from .command import Command, Ref
from .record import Record, jobs_folder
from .runner import numbers, remove, token, write_json


def create(command: Command, *, name: str, launcher: str, env: Mapping[str, str], **facts: Any) -> Record:
    """Write the record of a new job, whole or not at all.

    Args:
        env: the launcher's additions; the command's own variables win over them.
        facts: further fields of job.json (owner, detached, host, grace, notify …).

    Raises:
        InputError: an argument, variable or file name that no program can be given.
        LauncherError: the folder, or the log that the command wishes, cannot be written.
    """
    _check(command)
    data = {
        "version": 1, "id": "", "name": name, "launcher": launcher, "created": time.time(), "node": os.uname().nodename,
        **facts, "secrets": sorted(command.secrets), **command.to_json(), "env": {**env, **command.env},
    }  # fmt: skip
    root = jobs_folder()
    try:
        data["cwd"] = os.path.abspath(command.cwd) if command.cwd else os.getcwd()  # noqa: PTH100, PTH109
        data["log"] = command.log and str(Path(data["cwd"], command.log))
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        while not data["id"] or (root / data["id"]).exists():
            data["id"] = _new_id()
        return Record(_write(root, data, command))
    except OSError as error:
        raise LauncherError(
            f"The job cannot be recorded under {root}: {error.strerror or error}.",
            hint="Let LAZYLLM_HOME name a folder that you may write to, and start from a folder that exists.",
        ) from None


def planned(command: Command, **facts: Any) -> Record:
    """Return what stands for the record of a job that is only shown: its folder, `JOB`, is never made.

    Args:
        facts: fields of job.json that the launcher looks at.
    """
    record = Record(jobs_folder() / "JOB")
    record.data = {"id": record.id, "cwd": str(Path(command.cwd or ".").absolute()), **facts}
    return record


def _write(root: Path, data: dict[str, Any], command: Command) -> Path:
    new = root / f".new-{data['id']}"
    new.mkdir(mode=0o700)
    try:
        if command.files:
            (new / "files").mkdir(mode=0o700)
            for name, text in command.files.items():
                _create(new / "files" / name, text.encode("utf-8", "surrogateescape"))
        if command.secrets:
            write_json(str(new / "secrets.json"), dict(command.secrets))
        _create_log(new / "output.log", data["log"])
        write_json(str(new / "job.json"), data)
        final: Path = root / data["id"]
        new.rename(final)
    except BaseException:
        remove(str(new))
        raise
    return final


def _create(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)


def _create_log(path: Path, elsewhere: str | None) -> None:
    """Make the output's file: in the record, or where the command wishes it, with a link in the record."""
    if elsewhere is None:
        _create(path, b"")
        return
    wished = Path(elsewhere)
    try:
        if not wished.parent.exists():
            wished.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(wished, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK, 0o600))
    except OSError as error:
        raise LauncherError(
            f"The job's output cannot be written to {wished}: {error.strerror or error}.",
            hint="Name another file for its log.",
        ) from None
    path.symlink_to(wished)


def _new_id() -> str:
    """Eight characters; the first is a letter, so that no id reads like a PID."""
    noise = os.urandom(5)
    return "abcdefghjkmnpqrstuvwxyz"[noise[0] % 23] + noise[1:].hex()[:7]


def _check(command: Command) -> None:
    texts = [a for step in command.steps for a in step.argv if not isinstance(a, Ref)]
    for variables in (command.env, command.secrets):
        texts += [*variables, *variables.values()]
        if bad := [k for k in variables if not k or "=" in k]:
            raise InputError(f"No environment variable can be called {bad[0]!r}.")
    for text in texts:
        try:
            nul = b"\0" in text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            nul = True
        if nul:
            where = "a secret" if text in command.secrets.values() else repr(text)
            raise InputError(f"No program can be given {where}: it holds NUL or half a character.")
    for name in command.files:
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise InputError(f"{name!r} is no plain file name, which a job's files need.")


def owner() -> dict[str, Any]:
    """This process, as job.json names it."""
    return {"pid": os.getpid(), "created": token(os.getpid()), "numbers": numbers()}


def died(who: Mapping[str, Any]) -> bool:
    """Say whether the process that `owner` described is known to be dead, which only its own machine can tell."""
    return bool(who.get("numbers") == numbers() and token(who["pid"]) != who["created"])
