"""The cluster's nodes: what may be asked for at all."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from lazyllm.common.log import LOG
from lazyllm.errors import InputError, LauncherError, near

from .api import Api, UnreachableError
from .wishes import BINARY, UNITS

LIMIT = 10000
"""Most nodes that Ray's list gives at once."""
PATIENCE = 6.0
"""Seconds in which a cluster that has just started gets to know whether it has an autoscaler."""
ARGUMENTS = {"CPU": "ncpus", "GPU": "ngpus", "memory": "memory"}
PRIVATE = ("node:", "object_store_memory", "accelerator_type:")

Node = dict[str, float]


def read_nodes(api: Api) -> list[Node] | None:
    """Return what each live node has in all; None if the cluster does not tell.

    Raises:
        LauncherError: there is no cluster, or it does not let us in.
    """
    status, text = api.ask("GET", f"/api/v0/nodes?detail=1&limit={LIMIT}")
    if status == 404 and not text.startswith("{"):
        api.get("/api/version")  # an error if this is no dashboard at all
    try:
        rows = _data(text)["result"]["result"]
        return [_numbers(row.get("resources_total")) for row in rows if row.get("state") == "ALIVE"]
    except (ValueError, LookupError, TypeError, AttributeError):
        api.get("/api/version")
        return None


def _data(text: str) -> Any:
    import json

    return json.loads(text)["data"]


def _numbers(total: Any) -> Node:
    return {name: float(n) for name, n in (total or {}).items() if isinstance(n, (int, float))}


def can_grow(api: Api) -> bool | None:
    """Say whether an autoscaler may add nodes; None if the cluster does not tell (yet).

    Without one, Ray's monitor reports every node under a type that it makes up of the node's own id.
    """
    _, text = api.ask("GET", "/api/cluster_status")
    try:
        report = _data(text)["clusterStatus"]["autoscalerReport"]
        types = dict(report["nodeTypeMapping"])
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    if report.get("pendingNodes") or report.get("pendingLaunches") or not types:
        return True if types else None
    return any(kind != f"node_{node}" for node, kind in types.items())


def check(api: Api, needs: Mapping[str, float]) -> None:
    """Refuse what no node of the cluster can ever give, since Ray would let it wait.

    Raises:
        InputError: what is too much, and how much there is.
        LauncherError: there is no cluster, or it does not let us in.
    """
    nodes = read_nodes(api)
    if nodes and fits(nodes, needs):
        return
    if not nodes:
        LOG.info("Ray at %s does not tell its nodes (yet), so what is asked for was not checked.", api.shown)
        return
    wrong = InputError(too_much(nodes, needs), hint="`ray status` shows what the cluster has.")
    grows, end = can_grow(api), time.monotonic() + PATIENCE
    while grows is None and time.monotonic() < end:
        time.sleep(0.5)
        grows = can_grow(api)
    if grows is False:
        raise wrong
    LOG.warning("%s The job waits until a node is added that has; queue_timeout=SECONDS limits that.", wrong.message)


def fits(nodes: list[Node], needs: Mapping[str, float]) -> bool:
    """Say whether some node has all that is needed."""
    return any(all(node.get(name, 0) >= value for name, value in needs.items()) for node in nodes)


def too_much(nodes: list[Node], needs: Mapping[str, float]) -> str:
    """Return the sentence that says what no node has."""
    for name, value in needs.items():
        most = max(node.get(name, 0) for node in nodes)
        if most >= value:
            continue
        asked = _asked(name, value)
        if most or name in ("CPU", "memory"):
            has = readable(most) if name == "memory" else f"{most:.15g}"
            return f"{asked} is more than the {has} that a node of this Ray cluster has."
        if name == "GPU":
            return f"{asked}, but no node of this Ray cluster has GPUs."
        known = {own for node in nodes for own in node if own not in ARGUMENTS and not own.startswith(PRIVATE)}
        there = near(name, known) if known else "They have CPUs, memory and perhaps GPUs, which keywords ask for."
        return f"{asked}: no node of this Ray cluster has this resource. {there}"
    together = ", ".join(_asked(name, value) for name, value in needs.items())
    return f"No node of this Ray cluster has all of {together} together."


def _asked(name: str, value: float) -> str:
    """Return what is asked for as one would write it."""
    if name == "memory":
        return f"memory='{readable(value)}'"
    return f"{ARGUMENTS[name]}={value:.15g}" if name in ARGUMENTS else f"resources[{name!r}]={value:.15g}"


def readable(size: float) -> str:
    """Return bytes in the unit that keeps the number short, as `memory` takes them: exact if that has few digits."""
    units = {**{f"{unit.upper()}B": n for unit, n in UNITS.items()}, **{f"{k.title()}B": n for k, n in BINARY.items()}}
    for unit, n in sorted(units.items(), key=lambda pair: -pair[1]):
        if n <= size < 10_000 * n and size / n == round(size / n, 1):
            return f"{size / n:.15g}{unit}"
    return f"{size / BINARY['gi']:.1f}GiB"


def has_gpus(api: Api) -> bool:
    """Say whether some node has a GPU; True if the cluster does not tell."""
    try:
        nodes = read_nodes(api)
    except UnreachableError:
        raise
    except LauncherError:
        return True
    return not nodes or any(node.get("GPU") for node in nodes) or can_grow(api) is not False
