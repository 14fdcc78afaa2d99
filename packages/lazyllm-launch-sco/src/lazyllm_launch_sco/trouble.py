"""What SenseCore's complaints mean, and what mends them."""

from __future__ import annotations

import re

from lazyllm.common.log import LOG
from lazyllm.errors import LauncherError
from lazyllm.jobs.tools import Answer

HINTS = (
    (
        r"credential|authenticat|access.?key|token|unauthori[sz]ed|not logged in|log ?in|\b401\b|expired",
        "Your credentials are not accepted: log in anew (sco init), then try again.",
    ),
    (r"unknown command", "sco components install all"),
    (r"partition|aec2", "Name one of the workspace's: launchers.sco(partition), or LAZYLLM_SLURM_PART."),
    (r"workspace", "Name one that you may use: launchers.sco(workspace_name=…), or LAZYLLM_SCO_WORKSPACE."),
    (r"image", "Check container_image."),
    (r"storage|mount|volume", "Check storage_mounts: volume ids and the paths that they are mounted at."),
    (r"spec|resource|gpu|quota", "Check ngpus, worker_spec and LAZYLLM_SCO_RESOURCE_TYPE, and what your quota leaves."),
    (r"permission|denied|forbidden|\b403\b", "Ask the workspace's administrator for the right to submit there."),
    (r"timed? ?out|connect|no answer|unreachable|resolve", "Try again when the network and SenseCore answer."),
    (r"flag|option|argument|usage", "Perhaps these tools are of another generation: launchers.sco(generation=…)."),
)


def complaint(what: str, answer: Answer) -> LauncherError:
    """Return the error that says `what` SenseCore did not do, in its own words, with what mends it."""
    words = re.sub(r"^(error|fatal|err)\b[: ]*", "", answer.words, flags=re.I).rstrip(".")
    hint = next((hint for pattern, hint in HINTS if re.search(pattern, words, re.I)), "Its words are SenseCore's own.")
    return LauncherError(f"{what}: {words}.", hint=hint)


_said: set[str] = set()


def mention(answer: Answer) -> None:
    """Log, once for the same words, why SenseCore's tools tell nothing of jobs; what they told before still holds."""
    words = re.sub(r"\S*\d\S*", "…", answer.words)
    if words not in _said and len(_said) < 100:
        _said.add(words)
        LOG.warning("%s It will be asked again.", complaint("SenseCore cannot be asked about jobs", answer))
