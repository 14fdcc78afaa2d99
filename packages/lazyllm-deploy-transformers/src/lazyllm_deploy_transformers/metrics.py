"""Counters in Prometheus' text format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

_BOUNDS = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Histogram:
    """Observed seconds in cumulative buckets."""

    def __init__(self) -> None:
        self._buckets = [0] * len(_BOUNDS)
        self._count = 0
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._count += 1
        self._sum += seconds
        for i, bound in enumerate(_BOUNDS):
            self._buckets[i] += seconds <= bound

    def lines(self, name: str) -> Iterable[str]:
        for bound, count in zip(_BOUNDS, self._buckets, strict=True):
            yield f'{name}_bucket{{le="{bound:g}"}} {count}'
        yield f'{name}_bucket{{le="+Inf"}} {self._count}'
        yield f"{name}_sum {self._sum:.6f}"
        yield f"{name}_count {self._count}"


class Metrics:
    """What one server counted since its start. Used on the event loop only."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.cancelled = 0
        self.duration = Histogram()
        self.first_token = Histogram()

    def render(self, *, running: int, waiting: int, computed: int) -> str:
        """Return the exposition; `computed` counts every token that the model made, read by a client or not."""
        out: list[str] = []

        def metric(name: str, kind: str, text: str, lines: Iterable[str]) -> None:
            full = f"lazyllm_{name}"
            out.extend([f"# HELP {full} {text}", f"# TYPE {full} {kind}", *lines])

        def single(name: str, kind: str, text: str, value: int) -> None:
            metric(name, kind, text, [f"lazyllm_{name} {value}"])

        by_kind = [
            f'lazyllm_requests_total{{endpoint="{e}",status="{s}"}} {n}' for (e, s), n in sorted(self.requests.items())
        ]
        metric("requests_total", "counter", "Requests answered, by endpoint and HTTP status.", by_kind)
        single("requests_cancelled_total", "counter", "Requests whose client went away.", self.cancelled)
        single("sequences_running", "gauge", "Sequences being computed.", running)
        single("sequences_waiting", "gauge", "Sequences waiting for room.", waiting)
        single("prompt_tokens_total", "counter", "Prompt tokens of accepted requests.", self.prompt_tokens)
        single("completion_tokens_total", "counter", "Tokens of the answers.", self.completion_tokens)
        single("generated_tokens_total", "counter", "Tokens that the model computed.", computed)
        for name, text, histogram in (
            ("request_duration_seconds", "Seconds from a request to the end of its answer.", self.duration),
            ("time_to_first_token_seconds", "Seconds from a request to its first token.", self.first_token),
        ):
            metric(name, "histogram", text, histogram.lines(f"lazyllm_{name}"))
        return "\n".join(out) + "\n"
