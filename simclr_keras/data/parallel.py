"""How many calls of a map of the input run at the same time: as many as there are processors."""

import os

PARALLEL_CALLS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
