"""Components: objects that are called, and either do their work here (`apply`) or launch a command (`cmd`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import InputError
from ..registry import Register, Registered

if TYPE_CHECKING:
    from ..jobs.job import Job
    from ..jobs.launcher import LazyLLMLaunchersBase


class ComponentBase(Registered):
    """A callable that a group holds. A subclass overrides `apply` or `cmd`, not both.

    Args:
        launcher: an instance, a class or a name of `lazyllm.launchers`; None for the configured one.
    """

    _launched_with: ClassVar[Mapping[str, Any]] = {"sync": True}
    """Arguments of a launcher that is made here, as far as it takes them."""

    def __init__(self, *, launcher: Any = None) -> None:
        self._wished_launcher = launcher
        self._launcher: LazyLLMLaunchersBase | None = None
        self.job: Job | None = None
        self.name: str | None = None

    @property
    def launcher(self) -> LazyLLMLaunchersBase:
        """The launcher, found when it is first needed."""
        if self._launcher is None:
            from ..launcher import resolve_launcher

            self._launcher = resolve_launcher(self._wished_launcher, **self._launched_with)
        return self._launcher

    def apply(self, *args: Any, **kw: Any) -> Any:
        """Do the work in this process and return its result."""
        raise NotImplementedError(f"{type(self).__name__} implements neither apply nor cmd.")

    def cmd(self, *args: Any, **kw: Any) -> Any:
        """Return what a job is to run: a `Command`, an argv list, or shell text."""
        raise NotImplementedError(f"{type(self).__name__} implements neither apply nor cmd.")

    def __call__(self, *args: Any, **kw: Any) -> Any:
        cls = type(self)
        applies, commands = cls.apply is not ComponentBase.apply, cls.cmd is not ComponentBase.cmd
        if applies and commands:
            raise InputError(f"{cls.__name__} implements both apply and cmd; a component has one of them.")
        if not applies:
            self.job = self.launcher.makejob(self.cmd(*args, **kw))
            return self.launcher.launch(self.job)
        if self._wished_launcher is None:
            return self.apply(*args, **kw)
        return self.launcher.launch(self.apply, *args, **kw)

    def __repr__(self) -> str:
        name = f" name={self.name}" if self.name else ""
        return f"<lazyllm.llm.{self._lazy_llm_group} type={type(self).__name__}{name}>"


component_register: Register = Register(ComponentBase, ("apply", "cmd"))
