"""Read images as large as are read, beside ordinary ones, and say what all of it takes.

    python -m tests.data.together FOLDER WORKERS

FOLDER is empty. The line of JSON has the images that are read and left out of the ordinary and of
the large ones, and the most memory of the program and its workers, bytes.
"""

import json
import pathlib
import sys
import threading

from senet.data import limits
from senet.data.augment import Augmentation
from senet.data.pipeline import evaluation_batches, training_batches
from senet.data.preprocessing import Preprocessing
from senet.data.sources import load_data
from tests.data.hostile import encode, jpeg, picture, png, webp


def measure_tree(run):
    """What a call gives, and the most memory of this process and those that it starts, bytes."""
    peak, ended = count_memory("self"), threading.Event()

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


def main(folder, workers):
    small, large = folder / "small", folder / "large"
    made = {
        "deep.png": png(7070, 7070, depth=16, colours=0),
        "flat.webp": webp(4190, 4190),
        "bomb.webp": webp(7000, 7000),
        "photograph.jpg": jpeg(12_000, 8333),
        "progressive.jpg": jpeg(9000, 7000, progressive=True),
        "long.png": png(8, 8) + bytes(limits.MAX_FILE - 2000),
    }
    for place in (small, large):
        for label in ("a", "b"):
            (place / label).mkdir(parents=True)
            for name, content in made.items():
                for copy in range(2):
                    plain = encode(picture(), "JPEG")
                    path = place / label / f"{copy}-{name}"
                    path.write_bytes(content if place == large else plain)
    preprocessing = Preprocessing.of_values("imagenet", 32)

    def read(folder):
        source = load_data(folder, split=False).split("train")
        sizes = dict(batch_size=4, n_classes=2, workers=workers)
        made = training_batches(
            source, preprocessing, Augmentation("resized"), seed=0, epoch=0, **sizes
        )
        images = sum(len(batch.images) for batch in made)
        return images, sum(len(b.bad) for b in evaluation_batches(source, preprocessing, **sizes))

    results = [measure_tree(lambda place=place: read(place)) for place in (small, large)]
    print(json.dumps(results))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
