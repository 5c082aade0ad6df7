"""Kill a training process again and again, and compare what it ends with to a run left alone.

python tests/training/kills.py KILLS FOLDER [SEED]
"""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
from safetensors.numpy import load_file

ROOT = pathlib.Path(__file__).parent.parent.parent

RECIPE = """
model = "se_resnet20_cifar"
data = "digits"
fraction = 0.3
epochs = 4
batch_size = 32
mixup = 0.2
cutmix = 1.0
random_augment = 5.0
erase = 0.2
ema = 0.99
clip_norm = 5.0
accumulate = 2
save_minutes = 0.01

[spec]
dropout = 0.2
stochastic_depth = 0.1
n_blocks = [1, 1, 1]
"""


def main(kills, folder, seed=0):
    """Exit code 0 if both runs end with the same arrays."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.toml").write_text(RECIPE)
    start = ["--recipe", folder / "recipe.toml"]
    began = time.monotonic()
    assert run([*start, "--out", folder / "alone"]).wait() == 0
    whole = time.monotonic() - began
    rng, done, tries = np.random.default_rng(seed), 0, 0
    killed = folder / "killed"
    while True:
        fresh = not (killed / "run.json").exists()
        if fresh and killed.exists():  # killed before anything was written
            os.rename(killed, folder / f"early-{tries}")
        process = run([*start, "--out", killed] if fresh else ["--resume", killed])
        tries += 1
        if done < kills:
            try:
                code = process.wait(rng.uniform(0.2, 1) * whole)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                done += 1
                print(f"kill {done}: {newest(killed)}", flush=True)
                continue
            if code == 0 and done < kills:  # it came to its end first: once more from the start
                assert same(folder), "differs"
                os.rename(killed, folder / f"ended-{tries}")
                continue
        else:
            code = process.wait()
        assert code == 0, code
        if done >= kills:
            break
    print(json.dumps(dict(kills=done, starts=tries, same=same(folder))))
    return not same(folder)


def run(arguments):
    command = [sys.executable, "-m", "senet", "train", *map(str, arguments)]
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return subprocess.Popen(command, **quiet)


def newest(run_folder):
    found = sorted((run_folder / "checkpoints").glob("step-*"))
    return found[-1].name if found else "no checkpoint"


def same(folder):
    """Whether both runs end with the same bits, networks, learning curves and scores."""
    first, second = (ending(folder / name) for name in ("alone", "killed"))
    return first == second


def ending(run_folder):
    """What a run ends with, as bytes and numbers; times are left out."""
    last = load_file(max((run_folder / "checkpoints").glob("step-*")))
    found = {name: (array.shape, array.tobytes()) for name, array in last.items()}
    for name in ("model.keras", "best.keras"):
        with zipfile.ZipFile(run_folder / name) as archive:
            found[name] = archive.read("model.weights.h5")
    with open(run_folder / "metrics.csv", newline="") as file:
        timed = ("seconds", "images_per_second", "waiting")
        found["metrics"] = [
            {name: value for name, value in row.items() if name not in timed}
            for row in csv.DictReader(file)
        ]
    result = json.loads((run_folder / "result.json").read_text())
    found["result"] = [result[name] for name in ("images", "top1", "top5", "loss")]
    return found


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])))
