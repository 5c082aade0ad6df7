"""Latency of exports of a network, of the network without some gates, and of its plain twin.

python benchmarks/folding.py RUN FOLDED.keras [--rounds 15] [--out FILE]

FOLDED.keras is what `senet fold RUN` wrote. The plain twin is the network of the same name without
SE. All three are exported for OpenVINO in bfloat16 and quantised to int8, on the images of the run,
and are proved as any export is. They run in turn in every round, each as often in a row as takes a
tenth of a second. What is printed are medians of the rounds, with the least and the most.
"""

import argparse
import json
import pathlib
import statistics
import tempfile
import time

import numpy as np

import senet
from senet.prediction.trained import load_trained
from senet.runs.machine import describe_machine

BATCHES = (1, 32)
PRECISIONS = ("bfloat16", "int8")
IN_A_ROW = 0.1
"""Seconds that a network runs in each round, at least about."""


def plain_twin(folded):
    """The network of the same name without SE, with the weights of the folded one."""
    card = folded.card
    left = {block.scale: None for block in senet.find_se_blocks(folded)}
    rest = senet.fold_gates(folded, left) if left else folded
    side = card.input_shape
    twin = senet.create(card.network.removeprefix("se_"), classes=card.classes, input_shape=side)
    kinds = [[type(layer) for layer in model.layers] for model in (twin, rest)]
    if kinds[0] != kinds[1]:
        raise SystemExit(f"{folded.name} without its gates has other layers than {twin.name}.")
    twin.set_weights(rest.get_weights())
    return twin


def export_all(networks, data, folder):
    """Predicting functions by precision and network, and top-1 on held-out images."""
    found, scores = {}, {}
    for name, network in networks.items():
        for precision in PRECISIONS:
            out = folder / f"{name}-{precision}"
            if precision == "int8":
                senet.quantize(network, out, data=data, max_drop=100)
            else:
                senet.export(network, out, precision=precision, data=data)
            found[precision, name] = load_trained(out).model.predict_on_batch
            scores[precision, name] = senet.evaluate(out, data=data, split="test").top1
    return found, scores


def time_in_turn(functions, images, rounds):
    """For each function milliseconds of one batch, round by round."""
    counts = {}
    for name, predict in functions.items():
        predict(images)
        counts[name] = max(1, int(IN_A_ROW / seconds(lambda predict=predict: predict(images))))
    times = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, predict in functions.items():
            taken = seconds(lambda p=predict, n=counts[name]: [p(images) for _ in range(n)])
            if turn:  # the first one warms up
                times[name].append(1000 * taken / counts[name])
    return times


def seconds(action):
    """Time of one call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def measure(run, folded, rounds, folder):
    """Rows of the table: for each precision and batch the three networks."""
    manifest = json.loads(folded.with_suffix(".json").read_text(encoding="utf-8"))
    smaller = senet.load(folded)
    twin = plain_twin(smaller)
    card = smaller.card
    about = dict(class_names=card.class_names, preprocessing=card.preprocessing)
    senet.save(twin, folder / "plain.keras", **about)
    networks = {"as trained": run, "folded": folded, "plain twin": folder / "plain.keras"}
    functions, scores = export_all(networks, manifest["data"], folder)
    rows, side = [], card.preprocessing["size"]
    for precision in PRECISIONS:
        for batch in BATCHES:
            images = np.random.default_rng(0).normal(size=(batch, side, side, 3)).astype("float32")
            here = {name: functions[precision, name] for name in networks}
            for name, times in time_in_turn(here, images, rounds).items():
                row = dict(precision=precision, batch=batch, network=name)
                row |= dict(milliseconds=[statistics.median(times), min(times), max(times)])
                if name != "plain twin":  # it has weights of the others, and was not trained
                    row |= dict(top1=scores[precision, name])
                rows.append(row)
                say(row)
    return manifest, rows


def say(row):
    """One row as a line."""
    times = "{:.3f} ms ({:.3f} to {:.3f})".format(*row["milliseconds"])
    score = f"{row['top1']:.2%}" if "top1" in row else ""
    print(f"{row['precision']:<10}{row['batch']:>3}  {row['network']:<12}{times:>32}{score:>9}")


def main():
    """Print a table, and write it with the numbers of the folding."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("folded", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=pathlib.Path, help="file for the JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        manifest, rows = measure(options.run, options.folded, options.rounds, pathlib.Path(folder))
    manifest["data"] = pathlib.Path(manifest["data"]).name  # where it lay is nobody's business
    del manifest["out"]
    network = senet.load(options.folded).card.network
    summary = dict(network=network, machine=describe_machine(), exports=rows, folding=manifest)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
