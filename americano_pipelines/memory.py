"""How much memory this process ever held.

Here belongs only that: `americano sync` reports it, and `americano bench` compares it with the budget.
"""

import re
import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_KB_PER_MB, _BYTES_PER_MB = 1024, 1024 * 1024


def peak_memory_mb() -> int:
    """Most memory that this process held, in MB.

    On Linux not by getrusage: that begins with what the process that started this one held (1,027 MB were reported of
    a sync that held 300, started by a test runner that held the rest).
    """
    if _STATUS.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="ascii"))):
        return int(found.group(1)) // _KB_PER_MB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (_BYTES_PER_MB if sys.platform == "darwin" else _KB_PER_MB)
