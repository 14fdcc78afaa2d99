"""psij-python, imported late and kept quiet: half a second, and a signal handler that a program did not ask for."""

from __future__ import annotations

import os
import signal
import threading
from types import ModuleType
from typing import Any

from .schedulers import LOCAL

NEVER = 10**9
"""Seconds after which psij's own thread would ask the scheduler. It takes a query that fails for failed jobs."""

_lock = threading.Lock()
_made: dict[tuple[int, str], Any] = {}


def psij() -> ModuleType:
    """Return the module, imported without the handler for SIGCHLD that it would leave behind."""
    import logging
    import sys

    if found := sys.modules.get("psij.executors.batch.batch_scheduler_executor"):
        return sys.modules[found.__name__.partition(".")[0]]
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGCHLD) if main else None
    logger = logging.getLogger("psij.executors.local")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of a thread that is not the main one
    try:
        import psij as module
        import psij.executors.batch.batch_scheduler_executor
    finally:
        logger.setLevel(level)
        if main:
            signal.signal(signal.SIGCHLD, before if before is not None else signal.SIG_DFL)
    return module


def executor(name: str) -> Any:
    """Return this process's executor `name`; a forked child has one of its own."""
    with _lock:
        key = (os.getpid(), name)
        if key not in _made:
            _made[key] = _make(name)
        return _made[key]


def _make(name: str) -> Any:
    module = psij()
    if name == LOCAL:
        from .plain import register

        register()
        return module.JobExecutor.get_instance(name)
    from psij.executors.batch.batch_scheduler_executor import BatchSchedulerExecutorConfig

    idle = BatchSchedulerExecutorConfig(queue_polling_interval=NEVER, initial_queue_polling_delay=NEVER)
    return module.JobExecutor.get_instance(name, config=idle)
