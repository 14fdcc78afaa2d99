"""How much memory is free, in a container too."""

from __future__ import annotations

from pathlib import Path

from lazyllm.common.memory import free_memory

GIB = 2**30


def machine(root: Path, cgroup: str = "", **files: str) -> Path:
    """Pretend a machine with 64 GiB of available memory."""
    texts = {"proc/meminfo": f"MemTotal: 99 kB\nMemAvailable:  {64 * GIB // 1024} kB\n", "proc/self/cgroup": cgroup}
    for name, text in {**texts, **files}.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def group(folder: str, most: str, taken: int, cache: int = 0) -> dict[str, str]:
    at = f"sys/fs/cgroup/{folder}".rstrip("/")
    stat = f"anon 5\nactive_file 7\ninactive_file {cache}\n"
    return {f"{at}/memory.max": f"{most}\n", f"{at}/memory.current": f"{taken}\n", f"{at}/memory.stat": stat}


def test_without_limits_it_is_what_the_machine_has(tmp_path: Path) -> None:
    assert free_memory(machine(tmp_path)) == 64 * GIB
    assert free_memory(machine(tmp_path, "0::/user\n", **group("user", "max", 3))) == 64 * GIB


def test_a_containers_limit_counts_less_what_it_takes_and_with_the_cache(tmp_path: Path) -> None:
    files = group("", str(8 * GIB), 5 * GIB, cache=2 * GIB)
    assert free_memory(machine(tmp_path, "0::/\n", **files)) == 5 * GIB
    # the path may be the host's, which is not to be seen in here
    assert free_memory(machine(tmp_path, "0::/docker/abc\n", **files)) == 5 * GIB


def test_the_tightest_group_above_counts(tmp_path: Path) -> None:
    files = {**group("job", str(4 * GIB), GIB), **group("job/step", "max", GIB)}
    assert free_memory(machine(tmp_path, "0::/job/step\n", **files)) == 3 * GIB
    files = group("job", str(GIB), 2 * GIB)
    assert free_memory(machine(tmp_path, "0::/job/step\n", **files)) == 0


def test_the_first_version_of_the_control_groups(tmp_path: Path) -> None:
    at = "sys/fs/cgroup/memory/slurm/job_1"
    files = {f"{at}/memory.limit_in_bytes": str(6 * GIB), f"{at}/memory.usage_in_bytes": str(2 * GIB)}
    files[f"{at}/memory.stat"] = f"inactive_file 1\ntotal_inactive_file {GIB}\n"
    files["sys/fs/cgroup/memory/memory.limit_in_bytes"] = "9223372036854771712"
    files["sys/fs/cgroup/memory/memory.usage_in_bytes"] = "5"
    cgroup = "9:name=systemd:/x\n4:memory:/slurm/job_1\n3:cpuset:/a:b\n0::/\nnonsense\n"
    assert free_memory(machine(tmp_path, cgroup, **files)) == 5 * GIB


def test_here_it_is_a_plausible_number() -> None:
    assert 2**20 < free_memory() < 2**50
