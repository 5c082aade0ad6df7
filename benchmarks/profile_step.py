"""Where the time of a training step goes, with SE and without it, fused and not.

python benchmarks/profile_step.py [NETWORK] [--batch-size 32] [--precision mixed_bfloat16]
    [--no-acceleration] [--out FILE]

The step is that of `senet train`, as `senet benchmark` times it, on TensorFlow. A network with SE
takes part, the same one without, and, unless nothing is accelerated, once more with SE but without
the fused tails of `senet/acceleration/fused_tail.py`: unfused. First they run in turn, three
rounds. Then each takes three steps under TensorFlow's profiler, one operation at a time, so that
times add up to the step, but for what passes between operations. Every operation is of a kind, by
its type and its place in the graph. Beside the time of a kind stands the least that it could take:
the products and sums of convolutions at the speed of a matrix product; the maps that others must
read and write, once each, at the speed of a copy.
"""

import argparse
import collections
import pathlib
import re

from peers import MIXED, ROUNDS, Contestant, Process, Row, say, spread, write_json

from senet.machine import Others, read_own_seconds
from senet.models import family

CONVOLUTIONS = "convolutions forward", "convolutions backward"
TAILS = "norm to ReLU forward", "norm to ReLU backward"
GATES, POOLING, ADDED = "dense layers of gates", "pooling", "gradients added"
HEAD, OPTIMIZER, INPUT = "classifier and loss", "optimizer", "input"
OTHER, BETWEEN = "other operations", "between operations"
KINDS = (*CONVOLUTIONS, *TAILS, GATES, POOLING, ADDED, HEAD, OPTIMIZER, INPUT, OTHER, BETWEEN)
TYPES = 4
"""Of operations of a kind that are told, the longest first."""
OPERATIONS = (
    # a pattern of the type, one of the name, and the kind: of both ways, forward and backward
    (r"XLA", r"^_(sums|merge)$", TAILS[0]),
    (r"XLA", r"^_of_(relu|factors|maps)$", TAILS[1]),
    (r"XLA", r"function", CONVOLUTIONS[1]),  # of acceleration/convolution.py
    (r"", r"(^|/)cond/|sgd|/Assign", OPTIMIZER),
    (r"IsFinite|All|LogicalAnd|Pack", r"^[^/]*$", OPTIMIZER),  # the guard of the gradients
    (r".*AvgPool", r"^[^/]*$", TAILS[1]),  # sums of acceleration/fused_tail.py
    (r".*Conv2DBackprop\w+", r"", CONVOLUTIONS[1]),
    (r".*Conv2D\w*", r"", CONVOLUTIONS[0]),
    (r"", r"/\w*se_(reduce|excite)", GATES),
    (r"", r"/\w*(classifier|global_pool)|categorical_crossentropy|accuracy", HEAD),
    (r"", r"/\w*_(conv|pad)(_\d+)?/", CONVOLUTIONS),
    (r"", r"/fused_tail|/\w*_(bn|relu|add|se_squeeze|se_scale)(_\d+)?/", TAILS),
    (r"", r"/\w*pool", POOLING),
    (r"AddN", r"", ADDED),
    (r".*MatMul", r"^[^/]*$", CONVOLUTIONS[1]),  # gradients of 1x1 kernels
    (r"", r"^\w+/Cast$", INPUT),
    (r"Cast", r"^(gradient_tape/)?\w+/Cast_\d+", TAILS),  # of maps for a squeeze in float32
    (r"Sum|Mul|AddV2|Sub|Cast|SelectV2|Reshape|Tile|RealDiv|Neg|Unpack", r"^[^/]*$", TAILS[1]),
)
"""The first that fits counts. Gradients that this package writes itself have names of one part."""


def name_kind(name, operation):
    """Of what kind an operation is."""
    for of_type, of_name, kind in OPERATIONS:
        if re.fullmatch(of_type or ".*", operation) and re.search(of_name, name):
            backward = "gradient_tape" in name or "/" not in name
            return kind if isinstance(kind, str) else kind[backward]
    return OTHER


def add_kinds(profiled):
    """Milliseconds of each kind in a step that was profiled, and of the types it is made of."""
    types = {kind: collections.Counter() for kind in KINDS}
    for name, operation, seconds in profiled["operations"]:
        types[name_kind(name, operation)][operation] += 1000 * seconds
    total = {kind: sum(found.values()) for kind, found in types.items()}
    total[BETWEEN] = 1000 * profiled["seconds"] - sum(total.values())
    return total, {kind: dict(found.most_common(TYPES)) for kind, found in types.items()}


def measure(row):
    """Steps of the networks of a row, in turn; then each one's operations."""
    running = []
    try:
        for contestant in row.contestants:
            say(f"{contestant.name} starts")
            running.append(Process(contestant, row, None))
        plain = next(one for one in running if not one.contestant.name.startswith("se_"))
        others = Others(lambda: read_own_seconds() + sum(one.cpu for one in running))
        for turn in range(ROUNDS):
            for one in running[:: -1 if turn % 2 else 1]:  # so that nobody is always the first
                say(f"round {turn + 1} of {ROUNDS}, {one.contestant.name}")
                one.take_turn()
        for one in running:
            one.take_steps(0)
        found = dict(
            machine=running[0].about["machine"],
            busy_cores=others.count_busy_cores(),
            limits=running[0].ask("limits")["answer"],
            ratios={
                one.contestant.name: spread(
                    [b / a for a, b in zip(one.rates(), plain.rates(), strict=True)]
                )
                for one in running
                if one is not plain
            },
        )
        networks = [one.describe() for one in running]
        for network, one in zip(networks, running, strict=True):
            del network["about"]["machine"]
            network["least"] = one.ask("least")["answer"]
    finally:
        for one in running:
            one.stop()
    for network, contestant in zip(networks, row.contestants, strict=True):
        say(f"the operations of {contestant.name}")
        options = contestant.options | dict(one_at_a_time=True)
        alone = Process(Contestant(contestant.name, contestant.script, options), row, None)
        try:
            profiled = alone.ask("profile")["answer"]
        finally:
            alone.stop()
        network["profiled"] = 1000 * profiled["seconds"]
        network["kinds"], network["types"] = add_kinds(profiled)
        for least in network["least"].values():
            least["milliseconds"] = 1000 * max(
                least[what] / found["limits"][what] for what in ("operations", "bytes")
            )
    return found | dict(networks=networks)


def show(found):
    """A table of kinds."""
    networks = found["networks"]
    head = "".join(f"{one['name']:>22}{'at least':>10}" for one in networks)
    print(f"{'milliseconds of a step':<26}{head}")
    for kind in KINDS:
        least = [one["least"].get(kind, {}).get("milliseconds") for one in networks]
        cells = [
            f"{one['kinds'][kind]:>22.1f}{'' if time is None else f'{time:.1f}':>10}"
            for one, time in zip(networks, least, strict=True)
        ]
        print(f"{kind:<26}{''.join(cells)}")
    whole = "".join(f"{one['profiled']:>22.1f}{'':>10}" for one in networks)
    print(f"{'together, profiled':<26}{whole}")
    memory = "".join(f"{one['peak_memory'] / 2**30:>22.2f}{'':>10}" for one in networks)
    print(f"{'memory, GiB':<26}{memory}")
    for name, ratio in found["ratios"].items():
        of = "{:.3f} ({:.3f}-{:.3f})".format(*ratio)
        print(f"in turn a step of {name} takes {of} times as long as without SE")
    for kind, types in networks[0]["types"].items():
        parts = ", ".join(f"{name} {time:.1f}" for name, time in types.items() if time >= 1)
        print(f"{kind}: {parts or 'nothing of a millisecond'}")


def main():
    """Print a table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    networks = [name for name in family.names() if name.removeprefix("se_") in family.names()]
    networks = [name for name in networks if name.startswith("se_")]
    parser.add_argument("network", nargs="?", default="se_resnet50", choices=networks)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--precision", default=MIXED, choices=("float32", MIXED))
    parser.add_argument("--no-acceleration", action="store_true", help="stock layers of Keras")
    parser.add_argument("--out", type=pathlib.Path, help="file for the JSON")
    options = parser.parse_args()
    acceleration = not options.no_acceleration
    common = dict(mode="train", batch_size=options.batch_size, precision=options.precision)
    plain = options.network.removeprefix("se_")
    contestants = [
        Contestant(name, "ours.py", dict(network=name, acceleration=acceleration))
        for name in (options.network, plain)
    ]
    if acceleration:
        unfused = dict(network=options.network, acceleration=True, fused=False)
        contestants.append(Contestant(f"{options.network}, unfused", "ours.py", unfused))
    found = measure(Row("profile", options.network, common, contestants))
    found = common | dict(network=options.network, acceleration=acceleration) | found
    show(found)
    if options.out:
        write_json(options.out, found)


if __name__ == "__main__":
    main()
