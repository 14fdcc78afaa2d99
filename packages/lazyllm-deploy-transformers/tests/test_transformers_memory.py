import subprocess
import sys

import pytest

FAULTS = """
import resource, threading
from lazyllm_deploy_transformers.memory import keep_freed
keep_freed()
def work():
    for _ in range(50):
        held = [b"x" * (n << 20) for n in (3, 5, 9)]
thread = threading.Thread(target=work)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_memory_freed_in_a_thread_is_used_again_without_new_page_faults():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    pages = (3 + 5 + 9) * 256
    assert int(done.stdout) < 3 * pages  # 50 times that, if every round mapped its memory anew
