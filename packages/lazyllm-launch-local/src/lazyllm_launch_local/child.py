"""The child's side of a call, and what travels back from it.

A result travels as plain data (numbers, text, bytes, lists, tuples, dicts, sets), an exception as its class name and
arguments, one of ours with its hint and other facts: nothing is unpickled.
"""

from __future__ import annotations

import marshal
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NoReturn

from lazyllm.errors import JobError, LazyLLMError

_SIMPLE = {type(None), bool, int, float, complex, str, bytes}
_NESTED = {list, tuple, dict, set, frozenset}


def flush() -> None:
    """Write out what was printed; a stream that is closed, broken or absent is left as it is."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()


def child(
    call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]],
    variables: Mapping[str, str],
    pipe: tuple[int, int],
    parent: int,
) -> NoReturn:
    """Make the call in a process just forked, answer through `pipe` and end."""
    code = 1
    try:
        reader, writer = pipe
        os.close(reader)
        os.environ.update(variables)
        os.setpgid(0, 0)
        _die_with_parent(parent)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        function, args, kw = call
        try:
            answer = _packed(function(*args, **kw))
        except BaseException as error:
            kind, facts = type(error), vars(error) if isinstance(error, LazyLLMError) else {}
            parts = [_bare(a) for a in error.args], {name: _bare(fact) for name, fact in facts.items()}
            answer = marshal.dumps(("error", (kind.__module__, kind.__qualname__, *parts)))
        flush()
        with os.fdopen(writer, "wb") as file:
            file.write(answer)
        code = 0
    finally:
        os._exit(code)


def unpacked(told: bytes) -> tuple[str, Any] | None:
    """Return what `child` has sent, ("result", value) or ("error", facts); None if it did not get to the end."""
    try:
        kind, value = marshal.loads(told)  # noqa: S302 (from our own fork)
    except (EOFError, ValueError, TypeError):
        return None
    return kind, value


def rebuilt(module: str, name: str, args: list[Any], facts: dict[str, Any]) -> BaseException:
    """Return an exception of the child's class if this process knows it, else a JobError that names it."""
    found = getattr(sys.modules.get(module), name, None)
    if isinstance(found, type) and issubclass(found, BaseException):
        with suppress(Exception):  # its constructor wants something else
            ours = issubclass(found, LazyLLMError)  # whose `args` are the whole text, not what the constructor takes
            made = found.__new__(found, *args) if ours else found(*args)
            if isinstance(made, BaseException):
                vars(made).update(facts)
                return made
    return JobError(f"{module}.{name}: {' '.join(map(str, args))}")


def _packed(value: Any) -> bytes:
    """Return the answer for a result. What marshal would turn into something else is refused, an array for example."""
    todo, seen = [value], set()
    while todo:
        one = todo.pop()
        if type(one) in _SIMPLE or id(one) in seen:
            continue
        if type(one) not in _NESTED:
            raise _refusal(f"A {type(one).__name__} cannot be handed back by a child process, only plain data")
        seen.add(id(one))
        parts = [*one.keys(), *one.values()] if type(one) is dict else one
        if not set(map(type, parts)) <= _SIMPLE:
            todo.extend(parts)
    try:
        return marshal.dumps(("result", value))
    except ValueError as error:
        why = f"A {type(value).__name__} cannot be handed back by a child process: {error}; only plain data"
        raise _refusal(why) from None


def _refusal(text: str) -> JobError:
    return JobError(
        f"{text} (text, numbers, lists, dicts).", hint="Return plain data or a path, or leave out subprocess=True."
    )


def _bare(value: Any) -> Any:
    """Return an exception's argument as one that travels; a number or text of a class of its own becomes plain."""
    if type(value) in _SIMPLE:
        return value
    try:
        if isinstance(value, str):
            return str.__str__(value)
        for plain in (int, float):
            if isinstance(value, plain):
                return plain(value)
        return str.__str__(repr(value))
    except Exception:
        return f"<{type(value).__qualname__}>"


def _die_with_parent(parent: int) -> None:
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)
