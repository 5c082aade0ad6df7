"""Predict, evaluate and train on files that may be anything, and say what became of them.

    python -m tests.data.through FOLDER WORK

FOLDER has the files; WORK is an empty folder to work in. Every file is taken for an image of one
class of two, whose other images are ordinary ones. The last line is JSON: names of the files that
are read, messages of the others in prediction and training, images that are given and scored, and
the most bytes of memory that each of the three took above what the program had before.
"""

import csv
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

from tests.conftest import make_photos
from tests.data.measure import measure_memory

ROOT = pathlib.Path(__file__).parents[2]
FIELDS = dict(
    **dict(model="se_resnet20_cifar", spec=dict(n_blocks=[1, 1, 1]), size=32, epochs=1),
    **dict(batch_size=32, bad_images="ignore"),
)
ORDINARY = 40
"""Ordinary images of each class, of which there are some in all splits."""


def main(folder: pathlib.Path, work: pathlib.Path) -> dict:
    """Everything, one after the other."""
    import senet

    data, trained, run = work / "data", work / "trained", work / "run"
    make_photos(work / "photos", ORDINARY)
    make_photos(data, ORDINARY, seed=1)
    files = []
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        files.append(data / "circle" / f"{number:05d}-{path.name}.jpg")
        shutil.copyfile(path, files[-1])
    senet.train(work / "photos", out=trained, **FIELDS)
    _, training = measure_memory(lambda: senet.train(data, out=run, **FIELDS))
    time.sleep(2)  # what was read ahead
    evaluation, evaluating = measure_memory(lambda: senet.evaluate(trained, data, split="all"))
    images = [*files, *sorted(data.rglob("*.png"))]
    predictions, predicting = measure_memory(lambda: senet.predict(trained, images))
    listed = run / "bad_images.csv"
    rows = []
    if listed.exists():
        with open(listed, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    return dict(
        read=[os.path.basename(p.file) for p in predictions if not p.error],
        refused={os.path.basename(p.file): p.error for p in predictions.failed},
        bad={os.path.basename(row["file"]): row["reason"] for row in rows},
        given=len(images),
        scored=evaluation.images,
        taken=dict(train=training, evaluate=evaluating, predict=predicting),
    )


def run_on(folder: pathlib.Path, work: pathlib.Path) -> dict:
    """What `main` says of a folder, in a program of its own."""
    work.mkdir()
    command = [sys.executable, "-m", "tests.data.through", str(folder), str(work)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    return json.loads(result.stdout.splitlines()[-1])


if __name__ == "__main__":
    print(json.dumps(main(*map(pathlib.Path, sys.argv[1:3]))))
