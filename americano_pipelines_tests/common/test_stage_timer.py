"""The measured memory of a process is its own, not that of its parent."""

import subprocess
import sys

from americano_pipelines.common.stage_timer import peak_memory_mb

ASK = "from americano_pipelines.common.stage_timer import peak_memory_mb; print(peak_memory_mb())"


def test_it_is_of_this_process_alone() -> None:
    held = bytearray(300_000_000)
    held[::4096] = b"x" * len(held[::4096])
    assert peak_memory_mb() > 300

    theirs = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)

    assert 5 < int(theirs.stdout) < 100
