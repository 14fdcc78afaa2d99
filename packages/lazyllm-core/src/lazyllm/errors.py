"""Every error that this project raises on purpose.

Each one says what was wrong and what was expected; `hint` is what mends it, a command where there is one.
Errors about values are `ValueError` too, lookups of names `AttributeError`, missing plugins `ImportError`,
failed work `RuntimeError`, so that callers may catch the builtin that they know.
"""

from __future__ import annotations

from collections.abc import Iterable


class LazyLLMError(Exception):
    """Base of all errors here. `message` is one or more sentences, `hint` the action or command that mends it."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message}\n  {hint}" if hint else message)


class InputError(LazyLLMError, ValueError):
    """An argument, option or value that cannot be used."""


class ConfigError(InputError):
    """A configuration key that does not exist or a value that does not parse."""


class ArgumentError(InputError, TypeError):
    """An argument that a constructor does not take, or one that it lacks."""


class PromptError(InputError):
    """Input, history, tools or instruction that make no prompt."""


class SelectorError(InputError):
    """A formatter's selector that cannot be parsed or does not fit the data."""


class FormatError(InputError):
    """A model's answer in which the formatter found nothing."""


class DataError(InputError):
    """A data file that is missing, empty, malformed or lacks keys."""


class ModelError(InputError):
    """A model folder that is missing or incomplete, or that the chosen component cannot handle."""


class UnknownNameError(LazyLLMError, AttributeError):
    """A group or component that nothing provides."""


class MissingPluginError(LazyLLMError, ImportError):
    """A name that belongs to a known plugin which is not installed."""


class MissingComponentError(UnknownNameError):
    """A component of a group that belongs to a known plugin which is not installed."""


class PluginError(LazyLLMError, ImportError):
    """An installed plugin that fails to load."""


class PluginConflictError(LazyLLMError, RuntimeError):
    """Two distributions, or two definitions, that claim one name."""


class LauncherError(LazyLLMError, RuntimeError):
    """A launcher that cannot do what was asked of it (no resources, wrong platform, a taken port)."""


class JobError(LazyLLMError, RuntimeError):
    """A job that failed. `exit_code` is the failed step's, `output` the last lines that it wrote."""

    def __init__(
        self, message: str, *, hint: str | None = None, exit_code: int | None = None, output: str = ""
    ) -> None:
        self.exit_code = exit_code
        self.output = output
        super().__init__(f"{message}\n{output}" if output else message, hint=hint)


class JobTimeoutError(LazyLLMError, TimeoutError):
    """A job that did not get as far as was waited for in the given time; it goes on."""


class ServiceError(LazyLLMError, RuntimeError):
    """A server that cannot be reached or that answered with an error. `status` is its HTTP status, 0 if none came."""

    def __init__(self, message: str, *, hint: str | None = None, status: int = 0) -> None:
        self.status = status
        super().__init__(message, hint=hint)


LISTED = 60
"""Names that a message lists, at most."""


def near(name: str, known: Iterable[str]) -> str:
    """Return the sentence that names what is nearest to `name`, or all that is known if nothing is near."""
    import difflib

    names = sorted(set(known))
    spelling = {n.lower(): n for n in names}
    found = [spelling[n] for n in difflib.get_close_matches(name.lower(), spelling, n=3, cutoff=0.6)]
    if found:
        return "Did you mean " + " or ".join(repr(n) for n in found) + "?"
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return f"Known: {', '.join(names[:LISTED]) or 'nothing yet'}{more}."
