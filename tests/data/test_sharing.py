"""What images take at one time: in all threads, and in all processes."""

import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from senet.data import limits, sharing
from senet.data.augment import Augmentation
from senet.data.pipeline import evaluation_batches, training_batches
from senet.data.preprocessing import Preprocessing
from senet.data.sources import load_data
from tests.data.hostile import encode, jpeg, picture, png, webp

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


def test_an_inner_body_keeps_what_it_took_until_the_end_of_the_outer_one(share):
    with sharing.holding():
        with sharing.holding():
            share.take(10 * sharing.UNIT)
        refused = []

        def try_to_take():
            with sharing.holding():
                share.take(sharing.UNIT)
                refused.append(False)

        thread = threading.Thread(target=try_to_take, daemon=True)
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
    thread.join(10)
    assert refused == [False]


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
        taken = []

        def take():
            with sharing.holding():
                share.take(sharing.UNIT)
                taken.append(True)

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        thread.join(0.1)
        assert not taken
        process.send_signal(signal.SIGKILL)
    thread.join(10)
    assert taken


def measure_tree(run):
    """What a call gives, and the most memory of this process and those that it starts, bytes."""
    peak, ended = 0, threading.Event()

    def watch():
        nonlocal peak
        while not ended.wait(0.01):
            peak = max(peak, count_memory("self"))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        return run(), peak
    finally:
        ended.set()
        thread.join()


def count_memory(process):
    """Memory of a process and of its children, what they share once."""
    try:
        rollup = pathlib.Path(f"/proc/{process}/smaps_rollup").read_text()
        own = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
        children = [
            child
            for task in pathlib.Path(f"/proc/{process}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except (OSError, StopIteration):  # it has ended
        return 0
    return int(own.split()[1]) * 1024 + sum(map(count_memory, children))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what was taken")
@pytest.mark.parametrize("workers", [0, 3])
def test_all_workers_together_take_no_more_than_one_image_may(tmp_path, workers):
    small, large = tmp_path / "small", tmp_path / "large"
    made = {
        "deep.png": png(7070, 7070, depth=16, colours=0),
        "flat.webp": webp(4190, 4190),
        "bomb.webp": webp(7000, 7000),
        "photograph.jpg": jpeg(12_000, 8333),
        "progressive.jpg": jpeg(9000, 7000, progressive=True),
        "long.png": png(8, 8) + bytes(limits.MAX_FILE - 2000),
    }
    for folder in (small, large):
        for label in ("a", "b"):
            (folder / label).mkdir(parents=True)
            for name, content in made.items():
                for copy in range(2):
                    plain = encode(picture(), "JPEG")
                    path = folder / label / f"{copy}-{name}"
                    path.write_bytes(content if folder == large else plain)
    preprocessing = Preprocessing.of_values("imagenet", 32)

    def read(folder):
        source = load_data(folder, split=False).split("train")
        sizes = dict(batch_size=4, n_classes=2, workers=workers)
        made = training_batches(
            source, preprocessing, Augmentation("resized"), seed=0, epoch=0, **sizes
        )
        images = sum(len(batch.images) for batch in made)
        return images, sum(len(b.bad) for b in evaluation_batches(source, preprocessing, **sizes))

    (images, bad), ordinary = measure_tree(lambda: read(small))
    assert (images, bad) == (24, 0)
    (images, bad), most = measure_tree(lambda: read(large))
    assert (images, bad) == (24, 4)
    assert most - ordinary <= MEMORY
    print(
        f"{workers} workers: {(most - ordinary) / 1e6:.0f} million bytes above {ordinary / 1e6:.0f}"
    )
