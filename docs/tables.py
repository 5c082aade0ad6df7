"""Rewrite what is generated in the README and the pages of docs/, each between a pair of markers.

python docs/tables.py           write
python docs/tables.py --check   exit with 1 if a table is out of date
"""

import json
import pathlib
import re
import statistics
import sys
import textwrap
from typing import Any

ROOT = pathlib.Path(__file__).parent.parent
DOCS = ROOT / "docs"
GOLDEN = ROOT / "tests" / "golden" / "parameters.json"


def parameters() -> str:
    """Trainable parameters of the family, from the file that the tests compare with."""
    golden = json.loads(GOLDEN.read_text())
    rows = [
        "| network | classes | `seed` | `caffe` | `torch` | without SE | |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for classes, table in ((1000, "counts"), (10, "counts_10_classes")):
        for name, variants in golden[table].items():
            if not name.startswith("se"):
                continue
            plain = golden[table].get(name.removeprefix("se_"), {}).get("seed")
            if name == "senet154":
                plain = None
            cells = [
                f"{variants[v]:,}" if v in variants else "" for v in ("seed", "caffe", "torch")
            ]
            cells += [f"{plain:,}", f"+{variants['seed'] / plain - 1:.1%}"] if plain else ["", ""]
            rows.append(f"| `{name}` | {classes} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


PAPER = [
    # table, row, arguments of senet.create, printed GFLOPs, printed millions of parameters
    (2, "ResNet-50", dict(network="resnet50"), 3.86, None),
    (2, "SE-ResNet-50", dict(network="se_resnet50"), 3.87, None),
    (2, "ResNet-101", dict(network="resnet101"), 7.58, None),
    (2, "SE-ResNet-101", dict(network="se_resnet101"), 7.60, None),
    (2, "ResNet-152", dict(network="resnet152"), 11.30, None),
    (2, "SE-ResNet-152", dict(network="se_resnet152"), 11.32, None),
    (2, "ResNeXt-50", dict(network="resnext50_32x4d"), 4.24, None),
    (2, "SE-ResNeXt-50", dict(network="se_resnext50_32x4d"), 4.25, None),
    (2, "ResNeXt-101", dict(network="resnext101_32x4d"), 7.99, None),
    (2, "SE-ResNeXt-101", dict(network="se_resnext101_32x4d"), 8.00, None),
    *(
        (10, f"r = {ratio}", dict(network="se_resnet50", ratio=ratio), None, millions)
        for ratio, millions in ((2, 45.7), (4, 35.7), (8, 30.7), (16, 28.1), (32, 26.9))
    ),
    (13, "stage 2 only", dict(network="se_resnet50", se_at=("stage1",)), 3.86, 25.6),
    (13, "stage 3 only", dict(network="se_resnet50", se_at=("stage2",)), None, 25.7),
    (13, "stage 4 only", dict(network="se_resnet50", se_at=("stage3",)), None, 26.4),
    (13, "all stages", dict(network="se_resnet50"), 3.87, 28.1),
    (15, "SE after the 3x3", dict(network="se_resnet50", placement="3x3"), 3.86, 25.8),
    (16, "no squeeze", dict(network="se_resnet50", squeeze="none"), 4.27, 28.1),
]


def complexity() -> str:
    """What networks cost, counted from the model and as the paper prints it."""
    import senet
    from senet.models.complexity import shapes_only

    rows = [
        "| table | network | 10^9 multiply-adds | paper | difference "
        "| 10^6 parameters | paper | difference |",
        "|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    for table, row, arguments, gigas, millions in PAPER:
        with shapes_only():
            cost = senet.complexity(senet.create(**arguments))
        ours = cost.multiply_adds / 1e9, cost.parameters / 1e6
        cells = []
        for value, printed, digits in zip(ours, (gigas, millions), (3, 2), strict=True):
            difference = "" if printed is None else f"{value - printed:+.{digits}f}"
            cells += [
                f"{value:.{digits}f}",
                "" if printed is None else f"{printed:.{digits - 1}f}",
                difference,
            ]
        rows.append(f"| {table} | {row} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def weights() -> str:
    """The catalogue of published weights."""
    from senet.weights import catalogue

    rows = [
        "| network | `weights=` | top-1 | larger | licence | where |",
        "|---|---|--:|--:|---|---|",
    ]
    for row in catalogue.table():
        default = " (`imagenet`)" if row.tag == catalogue.default_tag(row.network) else ""
        score = f"{row.top1:.2f} at {row.scored_at}" if row.top1 else ""
        larger = f"{row.larger[2]:.2f} at {row.larger[0]}" if row.larger else ""
        where = f"`{row.repository}`" if row.repository else f"[file]({row.url})"
        rows.append(
            f"| `{row.network}` | `{row.tag}`{default} | {score} | {larger} "
            f"| {row.licence or 'not stated'} | {where} |"
        )
    return "\n".join(rows)


EVIDENCE = ROOT / "evidence"
RUNS = ("digits", "fashion_mnist", "clothing", "ratio")


def evidence() -> str:
    """What the experiments of `make evidence` found."""
    rows = [
        "| images | | top-1 of each seed, % | mean | deviation | difference | 95 % interval |",
        "|---|---|---|--:|--:|--:|--:|",
    ]
    for name in RUNS:
        summary = json.loads((EVIDENCE / name / "results.json").read_text())
        for i, arm in enumerate(summary["arms"]):
            recipe = summary["recipe"]
            what = (
                f"{summary['images']:,} {summary['split']} images of {summary['data']}; "
                f"`{recipe['model']}`, {recipe['epochs']} epochs"
            )
            cells = [
                "" if i else what,
                arm["arm"],
                ", ".join(f"{100 * score:.2f}" for score in arm["top1"]),
                f"{100 * arm['mean']:.2f}",
                f"{100 * arm['deviation']:.2f}",
            ]
            if "difference" in arm:
                cells.append(f"{100 * arm['difference']:+.2f}")
                cells.append(f"{100 * arm['low']:+.2f} to {100 * arm['high']:+.2f}")
            else:
                cells += ["", ""]
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def describe_cores(machine: dict[str, Any]) -> str:
    """A machine in words."""
    return f"{machine['cores']} cores of an {machine['processor']}"


def twin() -> str:
    """Times of stock networks and their twins, as `benchmarks/twin.py` measured them."""
    found = json.loads((EVIDENCE / "twin.json").read_text())
    rows = [
        f"| on {describe_cores(found['machine'])} | | as Keras has it | twin | ratio |",
        "|---|---|--:|--:|--:|",
    ]
    titles = {"first": "first step", "steps": "step of training", "scoring": "step of scoring"}
    for case in found["results"]:
        what = f"`{case['network']}`, {case['batch_size']} images of {case['size']} pixels"
        for name, title in titles.items():
            cells = [
                "{:.3g} s ({:.3g} to {:.3g})".format(*case[f"{name}_{kind}"])
                for kind in ("stock", "twin")
            ]
            rows.append(f"| {what} | {title} | {' | '.join(cells)} | {case[f'{name}_ratio']:.1f} |")
            what = ""
    return "\n".join(rows)


PEERS = ("timm", "zeromodels")
"""How the contestants are called that are not ours."""


def read_speed() -> list[dict[str, Any]]:
    """The rows of `make bench-peers`."""
    return json.loads((EVIDENCE / "speed.json").read_text())["rows"]


def format_rate(value: float) -> str:
    """Images per second."""
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def speed() -> str:
    """Ours and the fastest peer of each row, and the share of what the machine could do."""
    rows = read_speed()
    table = [
        f"| images per second on {describe_cores(rows[0]['machine'])} | senet | fastest peer | "
        "ratio | stock Keras | of the limit |",
        "|---|--:|---|--:|--:|--:|",
    ]
    slower = []
    for row in rows:
        rates = {one["name"]: one["images_per_second"][0] for one in row["contestants"]}
        ours = next(iter(rates))
        peer = max((n for n in rates if n.startswith(PEERS)), key=rates.__getitem__)
        ratio = row["ratios"][peer][0]
        if ratio < 1:
            slower.append(f"{row['title']} ({ratio:.2f})")
        stock = max((n for n in rates if n.startswith("stock")), key=rates.__getitem__, default="")
        own = f"{format_rate(rates[stock])} ({stock.split(', ')[1]})" if stock else ""
        share = "" if "int8" in ours else f"{rates[ours] / row['limit']:.0%}"
        table.append(
            f"| {row['title']} | {format_rate(rates[ours])} | {peer}: {format_rate(rates[peer])} "
            f"| {ratio:.2f} | {own} | {share} |"
        )
    if slower:
        table += ["", f"Where a peer is faster: {'; '.join(slower)}."]
    return "\n".join(table)


def peers() -> str:
    """All contestants of all rows of `make bench-peers`."""
    rows, parts = read_speed(), []
    for row in rows:
        busy, training = row["busy_cores"], row["mode"] == "train"
        used = "" if busy is None else f"; other processes used {busy:.2f} cores"
        parts += [
            f"**{row['title']}** (limit {row['limit']:.1f} images per second, "
            f"{row['limits']['operations'] / 1e9:,.0f} GFLOP/s in {row['limits']['precision']}"
            f"{used})",
            "",
            f"| | images per second | compared | limit |{' memory |' if training else ''}",
            f"|---|--:|--:|--:|{'--:|' if training else ''}",
        ]
        for one in row["contestants"]:
            ratio = row["ratios"].get(one["name"])
            share = one["images_per_second"][0] / row["limit"]
            limited = row["limits"]["precision"] in one["about"]["precision"]
            rate, least, most = map(format_rate, one["images_per_second"])
            once = sum(map(len, one["seconds"])) == 1
            if ratio and not once:
                compared = "{:.2f} ({:.2f} to {:.2f})".format(*ratio)
            else:
                compared = f"{ratio[0]:.0f}" if ratio else ""
            cells = [
                one["name"],
                f"{rate} (one step)" if once else f"{rate} ({least} to {most})",
                compared,
                f"{share:.0%}" if limited else "",
                *([f"{one['peak_memory'] / 2**30:.1f} GiB"] if training else []),
            ]
            parts.append(f"| {' | '.join(cells)} |")
        parts.append("")
    parts.append(f"On {describe_cores(rows[0]['machine'])}; {', '.join(list_versions(rows))}.")
    return "\n".join(parts)


def list_versions(rows: list[dict[str, Any]]) -> list[str]:
    """What took part, each once: networks of peers, and what computed."""
    abouts = [one["about"] for row in rows for one in row["contestants"]]
    found = {about["network"] for about in abouts if " " in about["network"]}
    for about in abouts:
        found |= set(about["engine"].split(", "))
    return sorted({re.sub(r"(\d)[-+].*", r"\1", name) for name in found})


def profile() -> str:
    """Where a step of training goes, as `benchmarks/profile_step.py` found it."""
    found = json.loads((EVIDENCE / "profile.json").read_text())
    first, second, *_ = found["networks"]
    precision, limits = found["precision"].removeprefix("mixed_"), found["limits"]
    rows = [
        f"| {found['batch_size']} images, {precision}, milliseconds | `{first['name']}` | at least "
        f"| over it | `{second['name']}` | at least | over it |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for kind in first["kinds"]:
        cells = []
        for one in (first, second):
            taken, least = one["kinds"][kind], one["least"].get(kind)
            time = least["milliseconds"] if least else 0.0
            cells += [
                f"{taken:.0f}",
                describe_least(least) if least else "",
                f"{round(taken - time)}",
            ]
        rows.append(f"| {kind} | {' | '.join(cells)} |")
    cells = []
    for one in (first, second):
        time = sum(least["milliseconds"] for least in one["least"].values())
        cells += [f"**{one['profiled']:.0f}**", f"{time:.0f}", f"{one['profiled'] - time:.0f}"]
    rows += [f"| together | {' | '.join(cells)} |", "", "Of which, with SE:", ""]
    for kind, types in first["types"].items():
        parts = [f"`{name}` {time:.0f}" for name, time in types.items() if time >= 1]
        if parts:
            rows.append(f"- {kind}: {', '.join(parts)}")
    ratio = "{:.3f} ({:.3f} to {:.3f})".format(*found["ratios"][first["name"]])
    rows += [
        "",
        f"Without the profiler, in turn, a step takes {ratio} times as long with SE. Measured on "
        f"{describe_cores(found['machine'])}: {limits['operations'] / 1e9:,.0f} GFLOP/s in "
        f"{limits['precision']}, {limits['bytes'] / 1e9:.0f} GB/s copied.",
    ]
    return "\n".join(rows)


PASSES = "norm to ReLU forward", "norm to ReLU backward", "gradients added"
"""The kinds of operations between one convolution and the next."""


def tails() -> str:
    """What squeeze and excitation cost in training, with fused tails and without them."""
    found = [
        json.loads((EVIDENCE / name).read_text())
        for name in ("profile.json", "profile_float32.json")
    ]
    rows = [
        "| | step, ms | beside that without SE | memory, GiB | passes, ms | of which backward |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for one in found:
        precision = one["precision"].removeprefix("mixed_")
        for network in sorted(
            one["networks"], key=lambda network: network["name"] in one["ratios"]
        ):
            name, *unfused = network["name"].split(", ")
            ratio = one["ratios"].get(network["name"])
            forward, *backward = (network["kinds"][kind] for kind in PASSES)
            cells = [
                ", ".join([f"`{name}`", *unfused, precision]),
                f"{1000 * one['batch_size'] / network['images_per_second'][0]:,.0f}",
                "{:.3f} ({:.3f} to {:.3f})".format(*ratio) if ratio else "",
                f"{network['peak_memory'] / 2**30:.2f}",
                f"{forward + sum(backward):.0f}",
                f"{sum(backward):.0f}",
            ]
            rows.append(f"| {' | '.join(cells)} |")
    ((size, cores),) = {(one["batch_size"], describe_cores(one["machine"])) for one in found}
    text = (
        f"Training of {size} images of 224 pixels on {cores}; medians of three rounds, of a ratio "
        "with the least and the most."
    )
    return "\n".join([*rows, "", wrapped(text)])


def kernel() -> str:
    """What loops of our own would gain, as `benchmarks/kernel.py` measured it."""
    found = json.loads((EVIDENCE / "kernel.json").read_text())
    xla, own = (found["milliseconds"][loops] for loops in ("xla", "numba"))
    return wrapped(
        "With numba one loop can give both, without a compiler on the machine of a user. "
        "`python benchmarks/kernel.py`, which needs numba, measures such loops beside those of "
        "XLA, on the maps of all "
        f"tails of `{found['network']}`, {found['batch_size']} images in bfloat16: {own:.0f} ms in "
        f"place of {xla:.0f} ms a step, on {describe_cores(found['machine'])}. That is without "
        "what TensorFlow would take to call them, on arrays that stay, where XLA is given new ones."
    )


def describe_least(least: dict[str, Any]) -> str:
    """What a kind of operation must do, and how long that takes at least."""
    moved = f"{least['bytes'] / 1e9:.2f} GB"
    done = f"{least['operations'] / 1e9:,.0f} GFLOP, {moved}" if least["operations"] else moved
    return f"{least['milliseconds']:.0f} ({done})"


def wrapped(text: str) -> str:
    """Lines of a page."""
    whole = re.sub("`.*?`", lambda code: code[0].replace(" ", "\0"), text)  # code stays on a line
    return "\n".join(textwrap.wrap(whole, 120, break_on_hyphens=False)).replace("\0", " ")


def start() -> str:
    """The result of the run of `make start`, a sentence."""
    run = json.loads((EVIDENCE / "start.json").read_text())
    minutes, seconds = divmod(round(run["seconds"]), 60)
    text = (
        f"On {run['trained_on']:,} photographs of clothes (`{run['data']}`), from scratch: "
        f"**{run['top1']:.1%} of {run['images']} {run['split']} images right**, where always "
        f"saying the most frequent class is right for {run['baseline']:.1%}. "
        f"{run['epochs']} epochs took "
        f"{minutes} min {seconds:02d} s on {describe_cores(run['machine'])} (`make start`)."
    )
    return wrapped(text)


def loading() -> str:
    """How long weights take to load and networks to build, as `make bench` measured it."""
    found = json.loads((EVIDENCE / "loading.json").read_text())
    built = json.loads((EVIDENCE / "building.json").read_text())
    ratios = sorted(one["ratio"] for one in built["networks"].values())
    ours, theirs = (
        f"{statistics.median(times):.3f} s ({min(times):.3f} to {max(times):.3f})"
        for times in (found["ours"], found["safetensors"])
    )
    peak, size = found["senet154_peak"], found["senet154_file"]
    rows = [
        f"| on {describe_cores(found['machine'])} | senet | peer | ratio |",
        "|---|--:|--:|--:|",
        "| SE-ResNet-50 from a `.safetensors` file into a built network "
        f"| {ours} | {theirs} | {found['ratio']:.1f} |",
        f"| memory above the built network, SENet-154, a file of {size / 1e6:.0f} MB "
        f"| {peak / 1e6:.0f} MB | | |",
        f"| building each of {len(ratios)} networks | | | {ratios[0]:.2f} to {ratios[-1]:.2f} |",
    ]
    return "\n".join(rows)


def gates() -> str:
    """What became of the paper's findings on gates, in the runs of `make gates`."""
    from senet.explanation.deletion import CLAIM

    runs = [
        json.loads((EVIDENCE / "gates" / f"{name}.json").read_text())
        for name in ("clothing", "digits")
    ]
    titles = [
        f"`{run['model']}`, {run['images']} {run['split']} images of {run['data']}, "
        f"{run['top1']:.1%} right"
        for run in runs
    ]
    rows = ["| finding | " + " | ".join(titles) + " |", "|---|" + "---|" * len(runs)]
    for found in zip(*(run["findings"] for run in runs), strict=True):
        cells = [f"**{one['answer']}**: {one['found']}" for one in found]
        rows.append(f"| {found[0]['claim']} | " + " | ".join(cells) + " |")
    tested = [f"**{run['deletion']['answer']}**: {run['deletion']['found']}" for run in runs]
    rows.append(f"| {CLAIM} | " + " | ".join(tested) + " |")
    return "\n".join(rows)


def read_folding() -> dict[str, dict[str, Any]]:
    """What `make folding` measured of each run."""
    folder = EVIDENCE / "folding"
    return {
        name: json.loads((folder / f"{name}.json").read_text()) for name in ("clothing", "digits")
    }


def worth_of_gates() -> str:
    """What each gate alone is worth, in the runs of `make folding`."""
    rows = [
        "| network, validation images | block | as it is | its mean | loss | dropped | loss |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for measured in read_folding().values():
        found = measured["folding"]
        images, before = found["validation"]["images"], found["steps"][0]
        first = f"`{measured['network']}`, {images} of {found['data']}"
        for one in found["worth"]:
            cells = [first, one["block"].removesuffix("_se_scale")]
            cells.append(f"{100 * before['top1']:.2f} % ({before['loss']:.3f})" if first else "")
            for way in ("mean", "dropped"):
                cells += [f"{100 * one[way]['top1']:.2f} %", f"{one[way]['loss']:.4f}"]
            rows.append("| " + " | ".join(cells) + " |")
            first = ""
    return "\n".join(rows)


def steps_of_folding() -> str:
    """The networks on the way from all gates to none, in the runs of `make folding`."""
    rows = [
        "| network | gone | as | top-1 | loss | parameters | multiply-adds | ms in Keras |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for measured in read_folding().values():
        found, first = measured["folding"], f"`{measured['network']}`"
        better = {one["block"]: _is_dropped(one) for one in found["worth"]}
        for k, step in enumerate(found["steps"]):
            block = (step["block"] or "none").removesuffix("_se_scale")
            name = f"**{block}**" if k == len(found["folded"]) else block
            how = {True: "dropped", False: "its mean", None: ""}[better.get(step["block"])]
            rows.append(
                f"| {first} | {name} | {how} | {100 * step['top1']:.2f} % | {step['loss']:.4f} "
                f"| {step['parameters']:,} | {step['multiply_adds']:,} "
                f"| {step['milliseconds']:.2f} |"
            )
            first = ""
    return "\n".join(rows)


def _is_dropped(one: dict[str, Any]) -> bool:
    mean, dropped = ((-one[way]["top1"], one[way]["loss"]) for way in ("mean", "dropped"))
    return one["refusal"] is not None or dropped < mean


def confirmed_folding() -> str:
    """What test images said of the folded networks, in the runs of `make folding`."""
    rows = [
        "| network | gates gone | test images | before | after | difference, points "
        "| 95 % interval | McNemar | within 0.1 |",
        "|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for measured in read_folding().values():
        found = measured["folding"]
        test = found["test"]
        low, high = test["interval_points"]
        rows.append(
            f"| `{measured['network']}` | {len(found['folded'])} of {found['blocks']} "
            f"| {test['images']} | {100 * test['top1_before']:.2f} % | {100 * test['top1']:.2f} % "
            f"| {test['difference_points']:+.2f} | {low:+.2f} to {high:+.2f} "
            f"| p = {test['p_value']:.2g} | {'yes' if test['confirmed'] else '**no**'} |"
        )
    return "\n".join(rows)


def folded_exports() -> str:
    """Latency of exports with and without gates, in the runs of `make folding`."""
    rows = [
        "| network | runs in | images | as trained, ms | folded, ms | without SE, ms "
        "| top-1 as trained | top-1 folded |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for measured in read_folding().values():
        first = f"`{measured['network']}`"
        cases: dict[tuple[str, int], dict[str, Any]] = {}
        for row in measured["exports"]:
            cases.setdefault((row["precision"], row["batch"]), {})[row["network"]] = row
        for (precision, batch), found in cases.items():
            times = [
                "{:.2f} ({:.2f} to {:.2f})".format(*found[name]["milliseconds"])
                for name in ("as trained", "folded", "plain twin")
            ]
            scores = [f"{100 * found[name]['top1']:.2f} %" for name in ("as trained", "folded")]
            cells = [first, precision, str(batch), *times, *scores]
            rows.append("| " + " | ".join(cells) + " |")
            first = ""
    return "\n".join(rows)


def commands() -> str:
    """The help of every command, by the groups of `senet --help`."""
    import click

    from senet.cli.command import HELP
    from senet.cli.main import GROUPS, senet_command

    parts = []
    with click.Context(senet_command, info_name="senet") as group:
        for title, names in GROUPS.items():
            parts.append(f"## {title}")
            for name in names:
                context = click.Context(
                    senet_command.get_command(group, name),
                    group,
                    name,
                    terminal_width=96,
                    help_option_names=HELP["help_option_names"],
                )
                parts.append(f"### senet {name}\n\n```text\n{context.get_help()}\n```")
    return "\n\n".join(parts)


def limits() -> str:
    """What hostile, damaged and large images take."""
    found = json.loads((ROOT / "evidence" / "limits.json").read_text())
    rows = [
        f"| on {found['machine']} | files | read "
        "| most memory, MB | of which | longest, s | of which |",
        "|---|--:|--:|--:|---|--:|---|",
    ]
    for kind, one in found["kinds"].items():
        rows.append(
            f"| {kind} | {one['files']:,} | {one['read']:,} | {one['bytes'] / 1e6:,.0f} "
            f"| `{one['greediest']}` | {one['seconds']:.2f} | `{one['slowest']}` |"
        )
    return "\n".join(rows)


TABLES = {
    ROOT / "README.md": {"start": start, "speed": speed},
    DOCS / "index.md": {"start": start},
    DOCS / "networks.md": {"parameters": parameters, "complexity": complexity},
    DOCS / "weights.md": {"weights": weights, "loading": loading},
    DOCS / "training.md": {"evidence": evidence, "twin": twin},
    DOCS / "speed.md": {"peers": peers, "profile": profile},
    DOCS / "fused_tail.md": {"tails": tails, "kernel": kernel},
    DOCS / "limits.md": {"limits": limits},
    DOCS / "gates.md": {"gates": gates},
    DOCS / "commands.md": {"commands": commands},
    DOCS / "folding.md": {
        "worth": worth_of_gates,
        "steps": steps_of_folding,
        "confirmed": confirmed_folding,
        "exports": folded_exports,
    },
}
"""What makes each table, by its page and its name there."""


def rewritten(page: pathlib.Path) -> str:
    """A page with every generated table brought up to date."""
    text = page.read_text()
    for name, table in TABLES[page].items():
        begin, end = f"<!-- {name}: generated -->\n", f"<!-- /{name} -->\n"
        if (text.count(begin), text.count(end)) != (1, 1):
            raise ValueError(
                f"{page.name} must have one place for the table {name!r}: {begin}{end}"
            )
        before, rest = text.split(begin)
        _, after = rest.split(end)
        text = f"{before}{begin}{table()}\n{end}{after}"
    return text


def main() -> int:
    """Write or check; the exit code."""
    pages = {page: rewritten(page) for page in TABLES}
    if "--check" in sys.argv:
        return int(any(page.read_text() != text for page, text in pages.items()))
    for page, text in pages.items():
        page.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
