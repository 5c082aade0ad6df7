"""senet and its peers in turn, each at its best: training and inference.

python benchmarks/peers.py --peers PYTHON [--out FILE] [--minutes 40] [--rows NAME,...]

PYTHON is the interpreter of an environment with the peers; `make bench-peers` makes one. The
contestants of a row are processes that stay (benchmarks/contestants/), each builds and warms up
once. Then they run in turn, three rounds, each some steps a round, while the others wait. A ratio
is that of two contestants in the same round; what is printed are medians, with the least and the
most. Rows are written as they are finished, and are kept: a run that was stopped goes on where it
was, on the same machine with the same versions. A row that would begin too late is left for the
next run. Keep the machine idle: how busy others kept it stands in every row.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

from senet.files import replacing
from senet.machine import Others, read_own_seconds
from senet.progress import clock

HERE = pathlib.Path(__file__).parent
CONTESTANTS = HERE / "contestants"
ROUNDS = 3
TURN = {"train": 8.0, "infer": 2.0}
"""Seconds that a contestant runs in a round, about."""
STEPS = 2, 200
"""In a turn, at least and at most."""
PAUSE = 0.5
"""Seconds before a turn, in which threads of the one before go to sleep."""
SIZE = 224
MIXED = "mixed_bfloat16"
PEERS = hashlib.sha256((HERE.parent / "constraints-peers.txt").read_bytes()).hexdigest()[:12]
"""The versions of the peers, for rows that are kept."""
POLICIES = {"bfloat16": MIXED, "float32": "float32"}
"""Of Keras, for what people call the precision."""
SETTINGS = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
"""Of the environment of all contestants."""


@dataclasses.dataclass(frozen=True)
class Contestant:
    """Who takes part in a row.

    Args:
        name: as the table has it.
        script: in `CONTESTANTS`.
        options: of it, beside those of the row.
        rounds: that it takes part in; one where a step takes minutes.
    """

    name: str
    script: str
    options: dict
    rounds: int = ROUNDS

    @property
    def is_peer(self):
        """Whether it lives in the environment of the peers."""
        return self.script != "ours.py"


@dataclasses.dataclass(frozen=True)
class Row:
    """One thing that is compared; the first contestant is what the others are compared with."""

    name: str
    title: str
    options: dict
    contestants: tuple


def ours():
    """The step of `senet train`."""
    return Contestant("senet train", "ours.py", dict(acceleration=True))


def stock(precision, rounds=ROUNDS):
    """The same network as Keras computes it by itself."""
    options = dict(acceleration=False, precision=POLICIES[precision])
    return Contestant(f"stock Keras, {precision}", "ours.py", options, rounds)


def export(precision, network="se_resnet50"):
    """What `senet export` or `senet quantize` writes."""
    plain = "" if network.startswith("se_") else ", without SE"
    options = dict(exported=precision, network=network)
    return Contestant(f"senet export {precision}{plain}", "ours.py", options)


def timm(precision, engine="compiled"):
    """Timm by an engine."""
    names = dict(onnxruntime="ONNX Runtime", openvino="OpenVINO")
    name = f"timm, {names.get(engine, engine)}, {precision}"
    return Contestant(name, "by_timm.py", dict(engine=engine, precision=precision))


def zeromodels(precision, backend="tensorflow"):
    """zeromodels, by a backend of Keras."""
    name = f"zeromodels, {dict(tensorflow='TensorFlow', torch='PyTorch')[backend]}, {precision}"
    options = dict(precision=POLICIES[precision], backend=backend)
    return Contestant(name, "by_zeromodels.py", options)


def training(network, batch_size, precision):
    """What the contestants of a row of training have in common."""
    return dict(mode="train", network=network, batch_size=batch_size, precision=precision)


def inference(batch_size):
    """What the contestants of a row of inference have in common."""
    options = dict(mode="infer", network="se_resnet50", batch_size=batch_size)
    return options | dict(precision="float32")


ROWS = (
    Row(
        "se_resnet50-train-bfloat16",
        "SE-ResNet-50, training, 32 images, bfloat16",
        training("se_resnet50", 32, MIXED),
        (ours(), timm("bfloat16"), stock("bfloat16"), zeromodels("bfloat16")),
    ),
    Row(
        "se_resnet50-train-float32",
        "SE-ResNet-50, training, 32 images, float32",
        training("se_resnet50", 32, "float32"),
        (ours(), timm("float32"), stock("float32")),
    ),
    Row(
        "resnet50-train-bfloat16",
        "ResNet-50, training, 32 images, bfloat16",
        training("resnet50", 32, MIXED),
        (ours(), timm("bfloat16"), stock("bfloat16")),
    ),
    Row(
        "se_resnext50-train-bfloat16",
        "SE-ResNeXt-50, training, 16 images, bfloat16",
        training("se_resnext50_32x4d", 16, MIXED),
        (ours(), timm("bfloat16"), stock("bfloat16", rounds=1)),
    ),
    Row(
        "se_resnet50-infer-1-bfloat16",
        "SE-ResNet-50, inference, 1 image, bfloat16",
        inference(1),
        (
            export("bfloat16"),
            export("bfloat16", "resnet50"),
            timm("bfloat16", "openvino"),
            timm("bfloat16"),
            timm("float32", "onnxruntime"),
            timm("float32", "eager"),
            stock("bfloat16"),
            stock("float32"),
            zeromodels("bfloat16"),
            zeromodels("float32"),
            zeromodels("float32", "torch"),
        ),
    ),
    Row(
        "se_resnet50-infer-1-int8",
        "SE-ResNet-50, inference, 1 image, int8",
        inference(1),
        (
            export("int8"),
            export("int8", "resnet50"),
            timm("int8", "openvino"),
            timm("bfloat16", "openvino"),
            timm("bfloat16"),
            timm("float32", "onnxruntime"),
            timm("float32", "eager"),
            stock("float32"),
        ),
    ),
    Row(
        "se_resnet50-infer-32",
        "SE-ResNet-50, inference, 32 images, bfloat16",
        inference(32),
        (
            export("bfloat16"),
            timm("bfloat16", "openvino"),
            timm("bfloat16"),
            stock("bfloat16"),
            stock("float32"),
        ),
    ),
    Row(
        "se_resnet50-infer-32-int8",
        "SE-ResNet-50, inference, 32 images, int8",
        inference(32),
        (export("int8"), timm("int8", "openvino"), timm("bfloat16")),
    ),
)


class Process:
    """A contestant that waits for its turn."""

    def __init__(self, contestant, row, peers):
        self.contestant, self.batch_size = contestant, row.options["batch_size"]
        python = peers if contestant.is_peer else sys.executable
        options = json.dumps(row.options | contestant.options)
        command = [str(python), str(CONTESTANTS / contestant.script), options]
        path = os.pathsep.join(map(str, (HERE.parent, CONTESTANTS)))
        environment = os.environ | SETTINGS | {"PYTHONPATH": path}
        if "backend" in contestant.options:
            environment["KERAS_BACKEND"] = contestant.options["backend"]
        self.process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.cpu, self.seconds, self.peak_memory = 0.0, [], 0
        said = self.read()
        self.about, self.first = said["about"], said["first"]
        if contestant.rounds > 1:
            self.take_steps(2)  # the second step is often slower than those that follow
            warm = min(self.take_steps(2))
            steps = round(TURN[row.options["mode"]] / warm)
            self.steps = max(STEPS[0], min(STEPS[1], steps))
        else:
            self.steps = 1

    def ask(self, what):
        """Say what it is to do, and read its answer."""
        with contextlib.suppress(BrokenPipeError):  # where it was killed there is none to read
            self.process.stdin.write(f"{what}\n")
            self.process.stdin.flush()
        return self.read()

    def read(self):
        """The next answer; libraries may print before the first."""
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                self.cpu = said["cpu"]
                self.peak_memory = said.get("peak_memory") or self.peak_memory
                return said
        self.stop()
        raise SystemExit(
            f"{self.contestant.name} ended with {self.process.returncode} before it was done"
        )

    def take_steps(self, count):
        """Their seconds."""
        return self.ask(count)["seconds"]

    def take_turn(self):
        """One round."""
        time.sleep(PAUSE)
        self.seconds.append(self.take_steps(self.steps))

    def rates(self):
        """Images per second of each round."""
        return [self.batch_size / statistics.median(seconds) for seconds in self.seconds]

    def describe(self):
        """What is kept of it."""
        return dict(
            name=self.contestant.name,
            about=self.about,
            first=self.first,
            peak_memory=self.peak_memory,
            images_per_second=spread(self.rates()),
            seconds=self.seconds,
        )

    def stop(self):
        """End it."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def spread(values):
    """Median, least and most."""
    return [statistics.median(values), min(values), max(values)]


def measure(row, peers):
    """All contestants of a row, in turn."""
    running = []
    try:
        for contestant in row.contestants:
            say(f"{row.title}: {contestant.name} starts")
            running.append(Process(contestant, row, peers))
        require_equal_networks(row, running)
        others = Others(lambda: read_own_seconds() + sum(one.cpu for one in running))
        for turn in range(ROUNDS):
            for one in running[:: -1 if turn % 2 else 1]:  # so that nobody is always the first
                if turn < one.contestant.rounds:
                    say(f"{row.title}: round {turn + 1} of {ROUNDS}, {one.contestant.name}")
                    one.take_turn()
        for one in running:
            one.take_steps(0)  # so that their work while they wait is known
        busy = others.count_busy_cores()
        first, *rest = running
        limits = first.ask("limits")["answer"]
        work = first.about["work"]
        machine = first.about["machine"]
        for one in running:
            one.about.pop("machine", None)
        return dict(
            name=row.name,
            title=row.title,
            **row.options,
            size=SIZE,
            machine=machine,
            peers=PEERS,
            busy_cores=busy,
            limits=limits,
            limit=row.options["batch_size"] * limits["operations"] / work["operations"],
            contestants=[one.describe() for one in running],
            ratios={
                one.contestant.name: spread(
                    [a / b for a, b in zip(first.rates(), one.rates(), strict=False)]
                )
                for one in rest
            },
        )
    finally:
        for one in running:
            one.stop()


def require_equal_networks(row, running):
    """Refuse to compare networks that differ: their parameters must be as many."""
    network = row.options["network"]
    counts = {
        one.contestant.name: one.about["parameters"]
        for one in running
        if one.contestant.options.get("network", network) == network
    }
    if len(set(counts.values())) > 1:
        raise SystemExit(f"These are not the same network: {counts}")


def show(row):
    """One row as a table."""
    busy = row["busy_cores"]
    used = "" if busy is None else f"; others used {busy:.2f} cores"
    print(f"\n{row['title']}; limit {row['limit']:.1f} images/s{used}")
    for one in row["contestants"]:
        rate = "{:.1f} ({:.1f}-{:.1f})".format(*one["images_per_second"])
        ratio = row["ratios"].get(one["name"])
        compared = "{:.2f}x ({:.2f}-{:.2f})".format(*ratio) if ratio else ""
        memory = f"{one['peak_memory'] / 2**30:.1f} GiB" if row["mode"] == "train" else ""
        print(f"{one['name']:<40}{rate:>24} images/s{compared:>22}{memory:>9}", flush=True)


def say(text):
    """Progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def read_kept(path, about, again):
    """Rows that are there already and need not be measured again.

    Args:
        path: of the file.
        about: machine and versions that rows must be of.
        again: names of rows to measure anew; `None` for all of a finished file, and for none of one
            that is not.
    """
    if not path.exists():
        return {}
    kept = json.loads(path.read_text())
    if again is None:
        again = {row["name"] for row in kept["rows"]} if kept["finished"] else set()
    return {
        row["name"]: row
        for row in kept["rows"]
        if about.items() <= row.items() and row["name"] not in again
    }


def describe_this_machine():
    """As a contestant of ours describes it."""
    program = (
        "import json, keras\n"
        "from senet.runs.machine import describe_machine\n"
        "print(json.dumps(describe_machine()))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(  # noqa: S603
        command, env=os.environ | SETTINGS, stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Measure what is missing, row by row; the exit code is 1 where rows are still missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=pathlib.Path, required=True, help="their Python")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("build/speed.json"))
    parser.add_argument("--minutes", type=float, default=40, help="after which no row begins")
    parser.add_argument("--rows", help="only these, with commas between them")
    options = parser.parse_args()
    names = [row.name for row in ROWS]
    again = set(options.rows.split(",")) if options.rows else None
    if again and (unknown := again - set(names)):
        parser.error(f"no rows {', '.join(unknown)}; there are {', '.join(names)}")
    wanted = again or set(names)
    about = dict(machine=describe_this_machine(), peers=PEERS)
    rows = read_kept(options.out, about, again)
    if again and (others := set(names) - again - set(rows)) and options.out.exists():
        say(f"not in {options.out} on this machine with these versions: {', '.join(others)}")
    began, longest, late = time.monotonic(), 0.0, []
    for row in ROWS:
        if row.name in rows or row.name not in wanted:
            continue
        started = time.monotonic()
        if started - began + longest > 60 * options.minutes:
            late.append(row.name)
            continue
        rows[row.name] = measure(row, options.peers)
        taken = time.monotonic() - started
        longest = max(longest, taken)
        rows[row.name]["minutes"] = round(taken / 60, 2)
        write(options.out, rows)
        show(rows[row.name])
    if late:
        raise SystemExit(f"{', '.join(late)} would begin too late: run it again, rows are kept")
    say(f"all rows measured in {clock(time.monotonic() - began)}")


def write(path, rows):
    """Write the rows so far, in the order of the table."""
    found = [rows[row.name] for row in ROWS if row.name in rows]
    write_json(path, dict(finished=len(found) == len(ROWS), rows=found))


def write_json(path, summary):
    """Write a file of evidence, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as new:
        pathlib.Path(new).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
