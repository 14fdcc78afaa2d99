"""The loss curve as a picture."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def draw_curve(lines: Sequence[dict[str, Any]], file: Path, title: str) -> None:
    """Draw the losses of a train_log.jsonl, training and evaluation, over the steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for key, label, style in (("loss", "training", "-"), ("eval_loss", "evaluation", "o--")):
        points = [(line["step"], line[key]) for line in lines if key in line]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=label, markersize=4, linewidth=1.5)
    axes.set(xlabel="step", ylabel="loss (mean cross-entropy of a token, nats)")
    axes.set_title(title, parse_math=False)  # a folder's name may hold a $
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(frameon=False)
    temporary = file.with_name(f".{file.name}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # no font has every script
        figure.savefig(temporary, format="png")
    temporary.replace(file)
