"""What one server process knows about itself."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lazyllm.errors import near

from .checks import model_name
from .metrics import Metrics
from .protocol.errors import ApiError, brief, unavailable

if TYPE_CHECKING:
    from .batching.engine import Engine
    from .text import Text

Phase = Literal["starting", "ready", "stopping", "failed"]
_REFUSALS = {
    "starting": "The model is being loaded; try again in a moment.",
    "stopping": "The server is stopping and takes no new requests.",
    "failed": "The engine has failed; the server is going down.",
}


@dataclass(slots=True)
class State:
    """The phase of the server and what serves its requests; `answering` counts requests under way."""

    folder: str
    name: str
    phase: Phase = "starting"
    answering: int = 0
    metrics: Metrics = field(default_factory=Metrics)
    created: int = field(default_factory=lambda: int(time.time()))
    _engine: Engine | None = None
    _text: Text | None = None

    def serve(self, engine: Engine, text: Text) -> None:
        """Take requests from now on."""
        self._engine, self._text = engine, text
        if self.phase == "starting":
            self.phase = "ready"

    @property
    def loaded(self) -> bool:
        return self._engine is not None

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            raise unavailable(_REFUSALS["starting"])
        return self._engine

    @property
    def text(self) -> Text:
        if self._text is None:
            raise unavailable(_REFUSALS["starting"])
        return self._text

    def require_ready(self) -> None:
        """Raise the 503 of a server that takes no requests."""
        if self.phase != "ready":
            raise unavailable(_REFUSALS[self.phase])

    def check_model(self, name: str | None) -> None:
        """Raise a 404 unless `name` is the served name, the model folder or its name; no name means the model."""
        folder = Path(self.folder).absolute()
        names = {self.name, self.folder, Path(self.folder).name, str(folder), folder.name, model_name(folder)}
        if name is not None and name not in names:
            said = brief(name)
            raise ApiError(
                f"The model {said!r} does not exist; this server serves {self.name!r}. {near(said, [self.name])}",
                status=404,
                param="model",
                code="model_not_found",
            )

    def card(self) -> dict[str, Any]:
        """Return the model's entry in /v1/models."""
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "lazyllm",
            "max_model_len": self.engine.sizing.max_model_len,
        }
