"""One side of the comparison as a process: paths of WARC files on stdin, what each cost on stdout as a line of JSON.

Standard library only: every side's environment imports it, so that all are timed by the same lines.
"""

import gc
import json
import os
import resource
import sys
from collections.abc import Callable


def cpu_seconds() -> float:
    """CPU seconds of this process and of the children that it has waited for (datatrove extracts in one)."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def serve(score_file: Callable[[str], int]) -> None:
    """Answer {cpu_s, scored} for each path until stdin ends; score_file gives the number of pages that it scored."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print while they work
    for line in sys.stdin:
        gc.collect()
        started = cpu_seconds()
        scored = score_file(line.strip())
        answers.write(json.dumps({"cpu_s": cpu_seconds() - started, "scored": scored}) + "\n")
        answers.flush()


def serve_parts(time_file: Callable[[str], dict[str, float]]) -> None:
    """Answer what time_file measures itself, {part: CPU seconds}, for each path until stdin ends."""
    for line in sys.stdin:
        gc.collect()
        sys.stdout.write(json.dumps(time_file(line.strip())) + "\n")
        sys.stdout.flush()
