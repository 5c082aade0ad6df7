"""The command line in several processes of one machine, which share the work."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from senet.machine import own_program

ADDRESSES = "KERAS_DISTRIBUTION_JOB_ADDRESSES"
PROCESSES = "KERAS_DISTRIBUTION_NUM_PROCESSES"
RANK = "KERAS_DISTRIBUTION_PROCESS_ID"
"""Variables of the environment that Keras reads; set on every host they make a cluster."""

STOPPED_CODES = {128 + signal.SIGINT, 128 + signal.SIGTERM}
"""Exit codes of processes that were told to stop and saved what they had."""
PATIENCE_SECONDS = 3.0
"""Seconds that processes have to end by themselves when another one has failed."""
SHOWN_LINES = 20
"""Of what a process said that failed: the end of a traceback."""


def is_launched() -> bool:
    """Whether this process is one of several already, by the environment."""
    return bool(os.environ.get(PROCESSES))


def launch(arguments: Sequence[str], processes: int) -> int:
    """Run the command line in several processes of this machine and wait for them.

    The first one speaks. Ctrl-C and SIGTERM are passed on; when a process fails the others are
    ended, and what it said is shown.

    Args:
        arguments: of `senet`.
        processes: how many.

    Returns:
        The exit code: that of the first process that failed, or that of all.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # the system picks a port that is free now
        address = f"127.0.0.1:{free.getsockname()[1]}"
    children: list[tuple[subprocess.Popen, Any]] = []
    with contextlib.ExitStack() as files, _pass_on_signals(children):
        try:
            for rank in range(processes):
                about = {ADDRESSES: address, PROCESSES: str(processes), RANK: str(rank)}
                output = files.enter_context(tempfile.TemporaryFile()) if rank else None
                command, environment = own_program("senet", *arguments)
                process = subprocess.Popen(  # noqa: S603  our own program
                    command,
                    env=environment | about | {"KERAS_BACKEND": "jax"},
                    stdout=subprocess.DEVNULL if rank else None,
                    stderr=output,
                    start_new_session=True,  # Ctrl-C reaches it through us, once
                )
                children.append((process, output))
            return _wait_for_all(children)
        finally:
            for process, _ in children:
                if process.poll() is None:
                    process.kill()
                    process.wait()


@contextlib.contextmanager
def _pass_on_signals(children: Sequence[tuple[subprocess.Popen, Any]]) -> Iterator[None]:
    """Hand Ctrl-C and SIGTERM to all of them."""

    def pass_on(signum: int, _: object) -> None:
        for process, _output in children:
            if process.poll() is None:
                process.send_signal(signum)

    before = {s: signal.signal(s, pass_on) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _wait_for_all(children: Sequence[tuple[subprocess.Popen, Any]]) -> int:
    """Wait for all; when one has failed, for the others only a while."""
    failed, deadline = 0, float("inf")
    while any(process.poll() is None for process, _ in children):
        if not failed:
            codes = [process.poll() for process, _ in children]
            failed = next((code for code in codes if code and code not in STOPPED_CODES), 0)
            deadline = time.monotonic() + PATIENCE_SECONDS if failed else deadline
        if time.monotonic() > deadline:
            for process, _ in children:
                process.kill()
        time.sleep(0.05)
    codes = [process.returncode for process, _ in children]
    failed = failed or next((code for code in codes if code), 0)
    for process, output in children:
        if output and process.returncode == failed and failed not in (0, *STOPPED_CODES):
            output.seek(0)
            lines = output.read().decode(errors="replace").splitlines()
            print("\n".join(lines[-SHOWN_LINES:]), file=sys.stderr)
    return failed if failed >= 0 else 128 - failed
