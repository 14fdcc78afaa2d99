"""How psij-python's local executor starts a job: as it is, not through scripts copied to the home folder."""

from __future__ import annotations

from pathlib import Path

from psij import Job, Launcher

NAME = "lazyllm-plain"
START = 'log=$0; exec "$@" </dev/null >>"$log" 2>&1'
"""The job's output goes to its record: a pipe to the process that started it would end with that."""


class PlainLauncher(Launcher):
    """Runs a job's command in a session of its own."""

    def get_launch_command(self, job: Job) -> list[str]:
        spec = job.spec
        if spec is None or spec.executable is None:
            return []
        argv = [spec.executable, *(spec.arguments or [])]
        return ["/bin/sh", "-c", START, str(spec.stdout_path), *(["setsid"] if _has_setsid() else []), *argv]

    def is_launcher_failure(self, output: str) -> bool:
        return False

    def get_launcher_failure_message(self, output: str) -> str:
        return output


def _has_setsid() -> bool:
    import shutil

    return shutil.which("setsid") is not None


def register() -> None:
    """Make it known to psij-python, which loads it from its file; a second time does nothing."""
    from packaging.version import Version
    from psij.descriptor import Descriptor

    root = Path(__file__).parents[1]
    Launcher.register_launcher(Descriptor(NAME, Version("1"), f"{__package__}.plain.PlainLauncher"), str(root))
