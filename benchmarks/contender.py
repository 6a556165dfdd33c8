"""One contender's process: `python -m benchmarks.contender NAME WORKLOAD`; started by `benchmarks.step`.

Reads a number of steps from standard input, runs them, and answers with a line of JSON: seconds, seconds of
processor time, and the most memory that the process ever had, in megabytes.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable

from benchmarks.workload import Workload
from electra_jax.runtime.malloc import keep_freed_memory


def starter(name: str, workload: Workload) -> Callable[[int], None]:
    """Return the function that runs ``n`` steps; libraries are imported only here, after the threads are limited."""
    if name == "electra_jax":
        from benchmarks import ours

        if workload.config().compute.keep_memory:
            keep_freed_memory()  # as the commands do
        return ours.start(workload)
    if name == "peak":
        from benchmarks import peak

        return peak.start()
    from benchmarks import huggingface_rival

    return huggingface_rival.start(workload, compiled=name == "torch.compile")


def main() -> None:
    """Answers until standard input ends."""
    name, fields = sys.argv[1:]
    workload = Workload(**json.loads(fields))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: workload.threads])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to standard error
    run = None
    for line in sys.stdin:
        start, cpu = time.perf_counter(), time.process_time()
        run = run or starter(name, workload)
        run(int(line))
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answer = {"seconds": seconds, "cpu": cpu, "memory": kilobytes / 1e3}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
