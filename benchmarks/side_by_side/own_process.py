"""One side in a process of its own: it does a round whenever it is asked to, and reports time and peak memory.

The process reads lines of JSON from its standard input and answers each with one: first the side, then its rounds.
"""

import importlib
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import time

from benchmarks.side_by_side.cases import Run, Side

ROOT = pathlib.Path(__file__).parents[2]


class LeftOutError(Exception):
    """The side cannot run here."""


class OwnProcess:
    """A prepared side.

    Args:
        side: Side.
        python: the interpreter.

    Raises:
        LeftOutError: a package is missing, or the process ended.
    """

    def __init__(self, side: Side, python: str = sys.executable) -> None:
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.side_by_side.own_process"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        function = side.prepare
        self._ask(
            {"module": function.__module__, "function": function.__name__, "settings": {**side.settings}}
        )

    def round(self) -> dict[str, float]:
        """Do the work once; return seconds, processor_seconds, memory in bytes, and figures of the side."""
        return self._ask("round")

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, request):
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self._process.stdout.readline()
        if not answer:
            raise LeftOutError(f"its process ended with exit code {self._process.wait()}")
        answer = json.loads(answer)
        if "missing" in answer:
            self.close()
            raise LeftOutError(f"the package {answer['missing']} is missing")
        return answer


class Timed:
    """A prepared side in this process.

    Args:
        prepare: returns the Run; called with the settings.

    Raises:
        LeftOutError: a package is missing.
    """

    def __init__(self, prepare, settings) -> None:
        try:
            self._run: Run = prepare(**settings)
        except ModuleNotFoundError as error:
            raise LeftOutError(error.name) from error
        self._before = peak_bytes()

    def round(self) -> dict[str, float]:
        """Do the work once; see `OwnProcess.round`."""
        wall, processor = time.perf_counter(), time.process_time()
        figures = self._run() or {}
        seconds, processor_seconds = time.perf_counter() - wall, time.process_time() - processor
        memory = max(peak_bytes() - self._before, 0)  # Linux counts pages late: the peak may sink by a few
        return {"seconds": seconds, "processor_seconds": processor_seconds, "memory": memory, **figures}


def peak_bytes() -> int:
    """Return the largest resident size of this process so far."""
    status = pathlib.Path("/proc/self/status")
    # Linux passes ru_maxrss on to children: it may be that of the process that started this one.
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def serve() -> None:
    """Answer the requests on the standard input until it ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def answer(content):
        print(json.dumps(content), file=answers, flush=True)

    request = json.loads(sys.stdin.readline())
    prepare = getattr(importlib.import_module(request["module"]), request["function"])
    try:
        side = Timed(prepare, request["settings"])
    except LeftOutError as error:
        answer({"missing": str(error)})
        return
    answer({})
    for _ in sys.stdin:
        answer(side.round())


if __name__ == "__main__":
    serve()
