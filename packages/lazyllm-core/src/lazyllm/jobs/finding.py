"""Which job somebody means, and with which key it is asked."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from ..errors import InputError, LazyLLMError, near
from .info import info
from .keys import API_KEY, key_file
from .record import Record, jobs_folder, records
from .runner import port_free, resolve
from .status import state_of
from .sweep import here, settle

LISTS = "lazyllm ps --all lists all jobs."


def find(key: str | int) -> Record:
    """Return the record that an id, the beginning of one, a name, a PID, a scheduler's id or a service's URL means.

    Among several jobs of one name or URL the one that runs is meant, or else the latest.

    Raises:
        InputError: nothing or more than one thing is meant.
        JobError: the record that is meant was damaged.
    """
    key = str(key).strip()
    if not key:
        raise InputError("A job is named by its id, its name, a PID or a URL, not by nothing.", hint=LISTS)
    exact = Record(jobs_folder() / key) if "/" not in key and not key.startswith(".") else None
    if exact and exact.data.get("id") == key:
        exact.demand_sound()
        return exact
    everything = list(records())
    named = [record for record in everything if key in _names(record)]
    if named:
        return _the_one(key, named)
    begins = [record for record in everything if record.id.startswith(key)]
    if len(begins) == 1:
        return begins[0]
    if begins:
        raise InputError(f"{key!r} begins the ids of several jobs: {_ids(begins)}.")
    nearest = near(key, _ids_and_names(everything))
    if not nearest.startswith("Did"):
        running = [record for record in everything if not record.state.ended]
        nearest = near(key, _ids_and_names(running)) if running else "No job runs."
    raise InputError(f"There is no job {key!r}. {nearest}", hint=LISTS)


def _ids_and_names(found: list[Record]) -> list[str]:
    return [name for record in found for name in (record.id, record.data.get("name", "")) if name]


def _names(record: Record) -> set[str]:
    names: set[str] = {record.data.get("name", ""), str(record.jobid or "")}
    if record.data.get("service") and (url := record.url(record.status())):
        base = url.removesuffix(record.data["service"]["path"])
        names |= {url, f"{url}/", base, f"{base}/", base.removeprefix("http://")}
    return names


def _the_one(key: str, found: list[Record]) -> Record:
    running = [record for record in found if not state_of(settle(record)).ended]
    if len(running) > 1:
        raise InputError(f"{key!r} means several running jobs: {_ids(running)}.", hint="Name one by its id.")
    return running[0] if running else max(found, key=lambda record: float(record.data.get("created", 0)))


def _ids(found: list[Record], shown: int = 5) -> str:
    ids = sorted(record.id for record in found)
    return ", ".join(ids[:shown]) + (f" and {len(ids) - shown:,} more" if len(ids) > shown else "")


def key_for(url: str) -> str | None:
    """Return the API key of this user's job that serves `url`; None if no such job runs, or it has no key.

    Other names of the job's machine will do, too.
    """
    try:
        record = _serving(url)
        path = None if info(record).state.ended else key_file(record)
        return str(json.loads(path.read_bytes())[API_KEY]) if path else None
    except (LazyLLMError, OSError, ValueError, KeyError):
        return None


def _serving(url: str) -> Record:
    try:
        return find(url)
    except InputError:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        for record in records():
            address = record.status().get("address") or {}
            if port in (address.get("ports") or {}).values() and _same_machine(record, host, address["host"]):
                return record
        raise


def _same_machine(record: Record, host: str, known: str) -> bool:
    """Say whether `host` is another name of the machine that a job's server is `known` under."""
    found = resolve(host)
    if here(record.status()) and record.data.get("host") in ("0.0.0.0", "::"):  # noqa: S104 (compared, not bound)
        return any(port_free(ip, 0) for ip in found)
    return bool({*found} & {*resolve(known)})
