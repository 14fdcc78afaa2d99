"""What Slurm's programs print, as captured from Slurm 22.05, and what is read from it."""

import time

import pytest

from lazyllm_launch_slurm import parse
from lazyllm_launch_slurm.parse import JOB_FIELDS, NODE_FIELDS


def line(fields, *cells):
    return "".join(cell[:width].ljust(width) for cell, width in zip(cells, fields.values(), strict=True))


def test_one_query_tells_of_many_jobs():
    text = "\n".join(
        [
            "CLUSTER: loop",
            line(JOB_FIELDS, "JOBID", "STATE", "EXIT_CODE", "REASON", "END_TIME", "NAME"),
            line(JOB_FIELDS, "4", "FAILED", "256", "NonZeroExitCode", "2026-11-22T16:40:48", "echo-k1234567"),
            line(JOB_FIELDS, "7", "FAILED", "9", "JobLaunchFailure", "2026-11-22T16:40:48", "sh"),
            line(JOB_FIELDS, "3", "PENDING", "0", "PartitionNodeLimit", "N/A", "x"),
            line(JOB_FIELDS, "9", "PENDING", "0", "launch failed requeued held", "N/A", "y"),
        ]
    )
    found = parse.jobs(text, asked=5.0)
    assert list(found) == ["4", "7", "3", "9"]
    assert (found["4"].word, found["4"].code, found["4"].name) == ("FAILED", 1, "echo-k1234567")
    assert found["4"].ended == time.mktime((2026, 11, 22, 16, 40, 48, 0, 0, -1))
    assert found["7"].code == -9 and found["3"].ended is None
    assert found["9"].reason == "launch failed requeued held" and found["9"].asked == 5.0


def test_a_long_reason_is_whole():
    reason = "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions"
    head = line(JOB_FIELDS, "JOBID", "STATE", "EXIT_CODE", "REASON", "END_TIME", "NAME")
    found = parse.jobs(f"{head}\n{line(JOB_FIELDS, '3', 'PENDING', '0', reason, 'N/A', 'x')}\n", asked=5.0)
    assert found["3"].reason == reason and found["3"].name == "x"


def test_accounting_says_who_cancelled():
    text = "JobIDRaw|State|ExitCode|End|JobName\n"
    text += "2|CANCELLED by 1000|0:15|2026-11-22T16:40:48|x-k1\n8|COMPLETED|0:0|2026-11-22T16:40:48|y-k2\nbroken|line\n"
    found = parse.accounted(text, 1.0)
    assert (found["2"].word, found["2"].code) == ("CANCELLED", -15)
    assert (found["8"].word, found["8"].code, set(found)) == ("COMPLETED", 0, {"2", "8"})


@pytest.mark.parametrize(
    "text, word", [("CANCELLED by 0", "CANCELLED"), ("COMPLETING+", "COMPLETING"), ("RUNNING", "RUNNING"), ("", "")]
)
def test_state_words(text, word):
    assert parse.state_word(text) == word


@pytest.mark.parametrize(
    "text, expected",
    [
        ("gpu:8", {"": 8}),
        ("gpu:a100:8(S:0-1)", {"a100": 8}),
        ("gpu:a100:3(IDX:0,2-3),gpu:v100:1(IDX:4)", {"a100": 3, "v100": 1}),
        ("gpu:(null):4(IDX:0-3)", {"": 4}),
        ("gpu:2,nic:1,gpu:a100:4", {"": 2, "a100": 4}),
        ("(null)", {}),
        ("gpu:0", {"": 0}),
        ("craynetwork:4,gpumem:100", {}),
    ],
)
def test_gpus_of_a_node(text, expected):
    assert parse.gpus(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [("infinite", None), ("10:00", 600), ("1-00:00:00", 86400), ("2:30:00", 9000), ("n/a", None), ("0:30", 30)],
)
def test_time_limits(text, expected):
    assert parse.duration(text) == expected


def test_nodes():
    head = "PARTITION NODELIST NODE_ADDR GRES GRES_USED STATE CPUS TIMELIMIT AVAIL"
    text = line(NODE_FIELDS, "debug*", "n1", "127.0.0.1", "gpu:8", "gpu:3(IDX:0-2)", "mixed", "4", "infinite", "up")
    (node,) = parse.nodes(f"{line(NODE_FIELDS, *head.split())}\n{text}\n")
    assert (node.partition, node.name, node.address, node.total, node.used) == ("debug", "n1", "127.0.0.1", 8, 3)
    assert (node.state, node.cpus, node.limit, node.available) == ("mixed", 4, None, "up")


@pytest.mark.parametrize("text", ["", "\n", "%%% <html>garbage", "x" * 1000, "JOBID STATE\n"])
def test_what_is_no_table(text):
    assert parse.jobs(text, 1.0) is None and parse.nodes(text) is None and parse.accounted(text, 1.0) is None
    head = line(JOB_FIELDS, "JOBID", "STATE", "EXIT_CODE", "REASON", "END_TIME", "NAME")
    assert parse.jobs(f"{head}\n", 1.0) == {}
    assert parse.jobs(f"{head}\n{head.replace('JOBID', 'error')}\n", 1.0) is None


def test_options_of_sbatch():
    text = """Parallel run options:
  -A, --account=name          charge job to specified account
      --bb=<spec>             burst buffer specifications
  -B  --extra-node-info=S[:C[:T]]  combine request of sockets per node,
                              --mem >= --mem-per-cpu if --mem is specified.
      --container-image=[USER@][REGISTRY#]IMAGE[:TAG]|PATH
"""
    assert parse.option_names(text) == {"account", "bb", "extra-node-info", "container-image", "mem"}
