"""Equal recipes, several seeds: what one choice gains, with its uncertainty."""

import itertools
import json
import os
import pathlib
import signal
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from senet.errors import InputError
from senet.files import write_json, write_rows
from senet.plotting.scores import draw_arms
from senet.plotting.style import both
from senet.recipes.arms import Arm
from senet.recipes.resolving import locate_paths
from senet.runs import record
from senet.runs.folder import is_run
from senet.training import console
from senet.training.run import resume, train

SUMMARY = "results.json"
CONFIDENCE = 0.95
"""Of the intervals."""
KEPT = (
    *("top1", "baseline", "loss", "images", "trained_on", "trained_on_complete"),
    *("split", "epochs", "seconds"),
)
"""Of the result of a run, in the table of the experiment."""


def experiment(
    arms: Sequence[Arm], folder: str | os.PathLike, *, seeds: Sequence[int] = (0, 1, 2)
) -> dict[str, Any]:
    """Train every arm with every seed, and say what the differences are worth.

    Runs that are finished are not repeated and interrupted ones are resumed, so that the same call
    goes on where it was stopped.

    Args:
        arms: to compare, the one to compare with first.
        folder: for the runs, `results.csv`, `results.json`, and `results.svg` and `results.png`.
        seeds: of initial weights, order, augmentation and, where the data have no splits of their
            own, of the split; the same for every arm.

    Returns:
        For each arm top-1 on held-out images for each seed, mean and standard deviation, and of the
        difference to the first arm the mean over seeds with its 95 % confidence interval (paired,
        Student's t).

    Raises:
        ValueError: there are fewer than two arms or seeds, or the folder is another experiment's.
        KeyboardInterrupt: a run was interrupted.
        SystemExit: a run was told to end, by SIGTERM.

    Example:
        >>> found = experiment(arms_of(Recipe(epochs=10)), "digits")  # doctest: +SKIP
        >>> found["arms"][1]["mean"]  # doctest: +SKIP
        0.991
    """
    _require_pairs(arms, seeds)
    folder = pathlib.Path(folder)
    rows = []
    for number, (seed, arm) in enumerate(itertools.product(seeds, arms), 1):
        place = f"run {number} of {len(seeds) * len(arms)}"
        console.say(f"{place}: {arm.name}, seed {seed}")
        result = _train_arm(arm, seed, folder / "runs" / f"{_name_folder(arm)}-seed{seed}")
        if result["interrupted"] == signal.SIGTERM.name:
            sys.exit(128 + signal.SIGTERM)
        if result["interrupted"]:
            raise KeyboardInterrupt
        if result.get("top1") is None:
            raise InputError(
                f"Every {result['split']} image of {arm.name}, seed {seed}, was trained on: there "
                "is no score to compare. Take other images, or other weights to start from."
            )
        rows.append(dict(arm=arm.name, seed=seed, **{name: result.get(name) for name in KEPT}))
        write_rows(folder / "results.csv", list(rows[0]), rows)
    summary: dict[str, Any] = dict(
        arms=summarise(rows),
        recipe=arms[0].settings,
        data=arms[0].data,
        seeds=list(seeds),
        images=rows[0]["images"],
        baseline=max((row["baseline"] for row in rows if row["baseline"]), default=None),
        split=rows[0]["split"],
        warnings=list_warnings(rows),
    )
    write_json(folder / SUMMARY, summary)
    draw_arms(
        {arm["arm"]: arm["top1"] for arm in summary["arms"]},
        both(folder / "results.png"),
        f"top-1 on {summary['images']} {summary['split']} images of {summary['data']}",
    )
    return summary


def list_warnings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What makes the scores of an experiment other than they seem, a sentence each.

    Args:
        rows: with `arm`, `seed`, `images`, `split` and `trained_on_complete`.
    """
    found = []
    for seed in dict.fromkeys(row["seed"] for row in rows):
        scored = {row["arm"]: row["images"] for row in rows if row["seed"] == seed}
        if len(set(scored.values())) > 1:
            counts = ", ".join(f"{arm} on {images}" for arm, images in scored.items())
            found.append(
                f"With seed {seed} the arms were not scored on the same images ({counts}): what "
                "their weights were trained on before does not count."
            )
    doubtful = dict.fromkeys(row["arm"] for row in rows if row["trained_on_complete"] is False)
    if doubtful:
        found.append(
            f"Not every image that {', '.join(doubtful)} was trained on is noted: images that it "
            "was scored on may be among them."
        )
    return found


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean, spread and difference of every arm.

    Args:
        rows: with `arm`, `seed` and `top1`; every arm has the same seeds.

    Returns:
        A record for each arm, in their order: `arm`, `top1` of each seed, `mean`, `deviation`
        (of one run), and but for the first `difference` to it and its interval `low`, `high`.
    """
    from scipy import stats

    names = list(dict.fromkeys(row["arm"] for row in rows))
    scores = {name: [row["top1"] for row in rows if row["arm"] == name] for name in names}
    first = scores[names[0]]
    made = []
    for name in names:
        about: dict[str, Any] = dict(
            arm=name,
            top1=scores[name],
            mean=statistics.mean(scores[name]),
            deviation=statistics.stdev(scores[name]),
        )
        if name != names[0]:
            pairs = [a - b for a, b in zip(scores[name], first, strict=True)]
            mean, error = statistics.mean(pairs), statistics.stdev(pairs) / len(pairs) ** 0.5
            reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(pairs) - 1)) * error
            about |= dict(difference=mean, low=mean - reach, high=mean + reach)
        made.append(about)
    return made


def table(summary: Mapping[str, Any]) -> str:
    """The summary of an experiment as Markdown."""
    lines = [
        "| | top-1 of each seed | mean | deviation | difference | 95 % interval |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for arm in summary["arms"]:
        scores = ", ".join(f"{100 * score:.2f}" for score in arm["top1"])
        line = f"| {arm['arm']} | {scores} | {100 * arm['mean']:.2f} | {100 * arm['deviation']:.2f}"
        if "difference" in arm:
            line += (
                f" | {100 * arm['difference']:+.2f} | {100 * arm['low']:+.2f} to "
                f"{100 * arm['high']:+.2f} |"
            )
        else:
            line += " | | |"
        lines.append(line)
    lines += [f"\nWarning: {warning}" for warning in summary.get("warnings", ())]
    return "\n".join(lines)


def _require_pairs(arms: Sequence[Arm], seeds: Sequence[int]) -> None:
    """Refuse what no difference can be made of, and runs that would share a folder."""
    names = {_name_folder(arm) for arm in arms}
    if len(names) < 2 or len(seeds) < 2:
        raise InputError("An experiment needs two arms and two seeds, to say what is chance.")
    if len(names) < len(arms) or len(set(seeds)) < len(seeds):
        raise InputError("Each arm and each seed counts once: name none of them twice.")


def _train_arm(arm: Arm, seed: int, folder: pathlib.Path) -> dict[str, Any]:
    """The result of one run: made, gone on with, or found."""
    keras.utils.clear_session()
    recipe = locate_paths(arm.with_seed(seed))
    if not is_run(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        return train(recipe, folder)
    if other := record.read(folder).list_other_fields(recipe):
        raise InputError(
            f"{str(folder)!r} is a run of another experiment: it differs in {', '.join(other)}. "
            "Choose another --out."
        )
    return resume(folder)


def _name_folder(arm: Arm) -> str:
    """The name of an arm as every file system takes it."""
    return "".join(c if c.isalnum() or c in "=.-" else "_" for c in arm.name)


def read(folder: str | os.PathLike) -> dict[str, Any]:
    """The summary that an experiment left in its folder."""
    return json.loads((pathlib.Path(folder) / SUMMARY).read_text(encoding="utf-8"))
