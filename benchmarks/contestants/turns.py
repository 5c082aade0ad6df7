"""Contestants of `benchmarks/peers.py`: processes that take steps when it is their turn.

A contestant builds its network, takes a first step, says so, and waits. For each line that it
reads, a number, it takes so many steps and says their seconds; some lines have answers of their
own. So compiling is paid once, and two contestants run in turn within seconds of each other, each
alone in its process. Only the standard library and `senet.machine`, which has no other: peers live
in an environment without senet.
"""

import json
import os
import sys
import time

from senet.machine import read_peak_memory


def read_options():
    """What the contestant is to be, as the driver says it."""
    return json.loads(sys.argv[1])


def serve(step, about, **answers):
    """Take steps as the driver asks for them, until it ends the input.

    Args:
        step: takes one step, and returns when it is done.
        about: versions and settings, to be told beside the figures.
        answers: what it may be asked for beside steps, by name: functions without arguments.
    """
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print on standard output is no answer

    def say(**values):
        print(json.dumps(values | dict(cpu=sum(os.times()[:2]))), file=output, flush=True)

    started = time.perf_counter()
    step()
    say(about=about, first=time.perf_counter() - started, peak_memory=read_peak_memory())
    for line in sys.stdin:
        if line.strip() in answers:
            say(answer=answers[line.strip()]())
            continue
        seconds = []
        for _ in range(int(line)):
            started = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - started)
        say(seconds=seconds, peak_memory=read_peak_memory())
