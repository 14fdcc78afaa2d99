"""What Slurm's words mean. A word that is not here means nothing: the job goes on being watched."""

from __future__ import annotations

from lazyllm.jobs.status import Status

from .ends import ENDS

STATES = {
    **dict.fromkeys(
        ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD",
         "POWER_UP_NODE"),
        Status.InQueue,
    ),
    **dict.fromkeys(("RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT", "RESIZING"), Status.Running),
    **dict.fromkeys(("SUSPENDED", "STOPPED"), Status.Pending),
    "COMPLETED": Status.Done,
    **dict.fromkeys(("FAILED", "LAUNCH_FAILED", "RECONFIG_FAIL"), Status.Failed),
    **{word: Status(state) for word, (state, _) in ENDS.items()},
}  # fmt: skip

GONE = "GONE"
"""Our own word for a job that neither the controller nor the accounting knows."""

SUDDEN = frozenset({"NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY"})
"""Ends after which no runner writes anything."""

_MORE = "Ask for less, or for another partition: scontrol show partition shows the limits."
_RIGHTS = "sacctmgr show assoc user=$USER format=account,partition,qos,maxtres lists what you may use."

HOPELESS = {
    "PartitionNodeLimit": ("more nodes than the partition gives a job", _MORE),
    "PartitionTimeLimit": ("more time than the partition gives a job", _MORE),
    "PartitionConfig": ("more than the partition's nodes have", _MORE),
    "BadConstraints": ("no node can ever fulfil its wishes", "sinfo -N -o '%N %c %m %G %f' shows what nodes have."),
    "MaxMemPerLimit": ("more memory than a job may have", _MORE),
    "DependencyNeverSatisfied": ("the job that it depends on did not end as demanded", "Submit it without dependency."),
    "DeadLine": ("it cannot end before its deadline", "Give it a later deadline."),
    "AccountNotAllowed": ("its account may not use the partition", _RIGHTS),
    "InvalidAccount": ("there is no such account", _RIGHTS),
    "InvalidQOS": ("there is no such QOS", _RIGHTS),
    "QOSNotAllowed": ("its QOS may not use the partition", _RIGHTS),
    "launch failed requeued held": ("it could not be launched on a node", "The node's administrator finds out why."),
}
"""Reasons of a pending job for which no time is long enough: what they say, and what mends them."""


WAITS = {
    "Resources": "what it asks for is not free now",
    "Priority": "jobs of a higher priority come first",
    "Dependency": "another job has to end first",
    "BeginTime": "its time to begin has not come",
    "JobHeldUser": "held; scontrol release lets it go",
    "JobHeldAdmin": "held by an administrator",
    "Licenses": "licences that it needs are taken",
    "Reservation": "its reservation has not begun",
    "ReqNodeNotAvail": "a node that it needs is not available",
    "NodeDown": "a node that it needs is down",
    "PartitionDown": "its partition takes no jobs now",
    "PartitionInactive": "its partition takes no jobs now",
}
"""Reasons for which a job waits, in words."""


def waits(reason: str) -> str:
    """Return, in words, why Slurm lets a job wait; "" if it gives no reason."""
    reason = reason.strip().strip("()")
    if reason in ("", "None"):
        return ""
    spelt = WAITS.get(reason.partition(",")[0])
    if spelt is None and reason.startswith(("Assoc", "QOS")):
        spelt = "a limit of its account or QOS is reached"
    return f"{spelt} ({reason})" if spelt else reason


def hopeless(reason: str) -> tuple[str, str] | None:
    """Return what `reason` says and what mends it, if it is one that never ends; None if waiting may help."""
    reason = reason.strip().strip("()")
    spelt = reason.replace("_", " ")  # scontrol writes "launch_failed_requeued_held"
    if found := HOPELESS.get(reason) or HOPELESS.get(spelt):
        return found
    per_job = reason.startswith(("AssocMax", "QOSMax", "QOSMin")) and ("PerJob" in reason or reason[3:6] == "Min")
    return ("it is larger than a job of this account or QOS may be", _RIGHTS) if per_job else None
