"""A stand-in for SenseCore on one machine: its command line tools, and containers that are local processes.

    python -m lazyllm_launch_sco.simulator FOLDER [--generation older|newer|acp]

makes FOLDER/bin with srun, squeue, scontrol and scancel (older, newer) or sco (acp), to be put on PATH. Jobs run
as this user's processes, one for each node, under nothing of the submitter's environment but HOME.

Documented, and so here: the options of `srun`, `squeue -o jobname,jobid`, `scontrol show job` with its JSON
(`status_phase` older, `state` newer), `scancel` with its "success scancel"; `sco acp jobs create`, `list`, `describe`
(`name`, `display_name`, `state`), `stream-logs`, `stop`, `delete`; the words for states; ids `pt-…`; jobs that are
listed late; RANK, WORLD_SIZE (nodes), MASTER_ADDR, MASTER_PORT in containers of jobs with several nodes.

Inferred, because no raw output is public: the widths and headings of squeue's table, further fields of the JSON, ids of
the older tools, all texts of errors, `srun --help`, that a killed srun leaves its job alone, that scancel removes the
job, that a job fails when one of its nodes does, that a container gets TERM and after `grace` seconds KILL, that the
newer tools run a command under `sh -c`, and that containers of one node get RANK=0 and WORLD_SIZE=1 too.

FOLDER/control.json may hold, and may be changed at any time (see `world.KNOBS`): delays, refusals, answers that are no
JSON, unknown states, tools that hang, expired credentials. FOLDER/calls.log has one JSON list for each call of a tool.
`World.tell(jobid, "restart")` and `"suspend"` do to a job what SenseCore itself may do.
"""

from __future__ import annotations
