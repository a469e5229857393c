"""A benchmark in a process of its own, and the peak memory of that process."""

import json
import pathlib
import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from typing import Any


def run_alone(script: str, flags: Sequence[str]) -> Any:
    """Return the last line that a script prints in a new process, which is JSON."""
    output = subprocess.run([sys.executable, script, *flags], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(output.stdout.splitlines()[-1])


def peak_bytes() -> int:
    """Return the largest resident size of this process so far."""
    status = pathlib.Path("/proc/self/status")
    # Linux passes ru_maxrss on to children: it may be that of the process that started this one.
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
