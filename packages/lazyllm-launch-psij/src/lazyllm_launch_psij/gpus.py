"""GPUs that nobody asked for: trainers and engines assume one, also where there is none."""

from __future__ import annotations

from dataclasses import replace

from lazyllm.common.log import LOG
from lazyllm.errors import InputError

from .cluster import has_gpus
from .commands import place_here
from .schedulers import LOCAL, SCHEDULERS
from .wishes import Wishes

ASSUMED = "Nobody asked for ngpus={}, it was assumed: launchers.psij(ngpus=0) asks for none."


def fitted(wishes: Wishes, name: str, assumed: bool, *, told: bool = False) -> Wishes:
    """Return what to ask the executor `name` for: without assumed GPUs where it is known that there are none.

    With `told` that is logged.

    Raises:
        InputError: GPUs were asked for, and it cannot be asked for them.
    """
    if not wishes.ngpus:
        return wishes
    if name == LOCAL and not assumed:
        raise InputError(
            f"ngpus={wishes.ngpus}: the executor 'local' cannot be asked for that.",
            hint="launchers.empty is made for this machine, and chooses GPUs.",
        )
    if name == LOCAL:
        return replace(wishes, ngpus=None)
    queue = wishes.queue_of(name)
    if not assumed or has_gpus(name, queue, place_here(name)) is not False:
        return wishes
    if told:
        where = f"the queue {queue}" if queue else "the default queue"
        LOG.info("On %s %s has no GPUs, so ngpus is ignored.", SCHEDULERS[name].title, where)
    return replace(wishes, ngpus=None)
