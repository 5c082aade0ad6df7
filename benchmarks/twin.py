"""A network as Keras computes it, and its twin of `senet.accelerate`: training and scoring.

python benchmarks/twin.py [NETWORK:SIZE:BATCH ...] [--rounds 3] [--steps 3] [--out FILE]

Every measurement is a process of its own, because the first step compiles; the two come in turn in
every round. Steps are `train_on_batch` and `predict_on_batch` with nothing but an optimizer and a
loss said to `compile`. What is printed are medians over all rounds, with the least and the most.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

CASES = ("se_resnext50_32x4d:64:8", "se_resnext50_32x4d:224:2", "se_resnet50:224:8")
KINDS = ("stock", "twin")
MEASURES = {
    "first": "first step, s",
    "steps": "step of training, s",
    "scoring": "step of scoring, s",
}


def measure(kind, network, size, batch_size, steps):
    """Seconds of the first step, and of steps that follow, of training and of scoring."""
    import keras
    import numpy as np

    import senet

    keras.utils.set_random_seed(0)
    model = senet.create(network, classes=10, input_shape=(size, size, 3))
    if kind == "twin":
        model = senet.accelerate(model)
    model.compile("sgd", "sparse_categorical_crossentropy")
    images = np.random.default_rng(0).random((batch_size, size, size, 3), "float32")
    labels = np.arange(batch_size) % 10
    first = seconds(lambda: model.train_on_batch(images, labels))
    trained = [seconds(lambda: model.train_on_batch(images, labels)) for _ in range(steps)]
    model.predict_on_batch(images)
    scored = [seconds(lambda: model.predict_on_batch(images)) for _ in range(steps)]
    return {"first": [first], "steps": trained, "scoring": scored}


def seconds(action):
    """Time of one call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def in_process_of_its_own(kind, case, steps):
    """What `measure` gives in a new process."""
    command = [sys.executable, __file__, case, "--measure", kind, "--steps", str(steps)]
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(  # noqa: S603
        command, stdout=subprocess.PIPE, text=True, check=True, env=quiet
    )
    return json.loads(done.stdout.splitlines()[-1])


def compare(case, rounds, steps):
    """For each kind all times of all rounds."""
    found = {kind: {name: [] for name in MEASURES} for kind in KINDS}
    for turn in range(rounds):
        for kind in KINDS:
            for name, times in in_process_of_its_own(kind, case, steps).items():
                found[kind][name] += times
            print(f"{case}: round {turn + 1} of {rounds}, {kind}", file=sys.stderr, flush=True)
    return found


def row(case, found):
    """Medians of a case, and how many times as long the stock network takes."""
    network, size, batch_size = case.split(":")
    result = {"network": network, "size": int(size), "batch_size": int(batch_size)}
    for name in MEASURES:
        for kind in KINDS:
            times = found[kind][name]
            result[f"{name}_{kind}"] = [statistics.median(times), min(times), max(times)]
        result[f"{name}_ratio"] = result[f"{name}_stock"][0] / result[f"{name}_twin"][0]
    return result


def say(result):
    """One case as lines of a table."""
    for name, title in MEASURES.items():
        cells = [
            "{:.3g} ({:.3g}-{:.3g})".format(*result[f"{name}_{kind}"]).rjust(24) for kind in KINDS
        ]
        where = f"{result['network']} {result['size']} px, {result['batch_size']} images"
        print(f"{where:<42}{title:<22}{''.join(cells)}{result[f'{name}_ratio']:>8.2f}", flush=True)


def main():
    """Print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=CASES, metavar="NETWORK:SIZE:BATCH")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path, help="file for the JSON")
    parser.add_argument("--measure", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        network, size, batch_size = options.cases[0].split(":")
        found = measure(options.measure, network, int(size), int(batch_size), options.steps)
        print(json.dumps(found))
        return
    print(f"{'':<64}{'stock':>24}{'twin':>24}{'ratio':>8}")
    results = []
    for case in options.cases:
        results.append(row(case, compare(case, options.rounds, options.steps)))
        say(results[-1])
        summary = json.dumps({"machine": machine(), "results": results}, indent=1)
        if options.out:
            options.out.write_text(summary + "\n")
    print(json.dumps(json.loads(summary)))


def machine():
    """On what was measured."""
    from senet.runs.machine import describe_machine

    return describe_machine()


if __name__ == "__main__":
    main()
