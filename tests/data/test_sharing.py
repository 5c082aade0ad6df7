"""What images take at one time: in all threads, and in all processes."""

import json
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from senet.data import sharing

ROOT = pathlib.Path(__file__).parents[2]
MEMORY = 400_000_000
"""What all images that are read at one time may take together, bytes."""


@pytest.fixture
def share(tmp_path, monkeypatch):
    """Memory of ten units that nobody else knows."""
    monkeypatch.setattr(sharing, "_folder", str(tmp_path))
    return sharing.Share("test", 10 * sharing.UNIT, sharing.UNCOUNTED)


def test_threads_wait_until_others_have_given_back(share):
    lock, taken, most = threading.Lock(), 0, list[int]()

    def use(units):
        nonlocal taken
        for _ in range(5):
            with sharing.holding():
                share.take(units * sharing.UNIT)
                with lock:
                    taken += units
                    most.append(taken)
                time.sleep(0.002)
                with lock:
                    taken -= units

    threads = [threading.Thread(target=use, args=(units,)) for units in (1, 3, 4, 6, 10, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(most) == 30  # nobody waits for ever
    assert max(most) == 10


def test_what_is_small_or_read_alone_is_not_counted(share):
    share.take(100 * sharing.UNIT)
    with sharing.holding():
        share.take(sharing.UNCOUNTED)
        assert not list(pathlib.Path(sharing.get_folder()).iterdir())
        share.take(100 * sharing.UNIT)  # all there is
        assert len(list(pathlib.Path(sharing.get_folder()).iterdir())) == 11


def start_taking(share):
    """A thread that takes one unit, as soon as there is one; it has begun to wait."""

    def take():
        with sharing.holding():
            share.take(sharing.UNIT)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    thread.join(0.1)
    return thread


def test_an_inner_body_keeps_what_it_took_until_the_end_of_the_outer_one(share):
    with sharing.holding():
        with sharing.holding():
            share.take(10 * sharing.UNIT)
        thread = start_taking(share)
        assert thread.is_alive()
    thread.join(10)
    assert not thread.is_alive()


PROGRAM = """
import sys, time
from senet.data import sharing
sharing.use_folder(sys.argv[1])
share = sharing.Share("test", 10 * sharing.UNIT, sharing.UNCOUNTED)
with sharing.holding():
    share.take(10 * sharing.UNIT)
    print("taken", flush=True)
    time.sleep(100)
"""


def test_what_a_killed_process_took_is_free(share):
    command = [sys.executable, "-c", PROGRAM, sharing.get_folder()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "taken\n"
        thread = start_taking(share)
        assert thread.is_alive()
        process.send_signal(signal.SIGKILL)
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what was taken")
@pytest.mark.parametrize("workers", [0, 3])
def test_all_workers_together_take_no_more_than_one_image_may(tmp_path, workers):
    command = [sys.executable, "-m", "tests.data.together", str(tmp_path), str(workers)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (small, ordinary), (large, most) = json.loads(result.stdout.splitlines()[-1])
    assert (small, large) == ([24, 0], [24, 4])
    assert most - ordinary <= MEMORY
    print(f"{workers} workers: {most - ordinary:,} bytes above {ordinary:,}")
