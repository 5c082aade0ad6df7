"""What a run says on standard error."""

import contextlib
import itertools
import math
import pathlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

from senet.data.pipeline import count_batches_ahead
from senet.data.sources import Data
from senet.evaluation import find_majority
from senet.foreign import escape_text, listed
from senet.progress import clock
from senet.training.interruption import Stopped
from senet.training.parts import Run
from senet.training.state import State

PROBE_SECONDS = 2.0
"""Seconds for which the speed of the loader alone is measured."""
MAX_CLASSES = 40
"""Classes up to which the images of each are listed."""
SLOW_SHARE = 0.1
"""Share of the time spent waiting for images above which it is said."""


def say_hello(run: Run) -> None:
    """Say what is trained on what, and how fast images come."""
    plan, splits = run.plan, run.data.splits
    counts = ", ".join(f"{len(split)} {name}" for name, split in splits.items())
    parameters = sum(math.prod(v.shape) for v in run.network.model.trainable_variables)
    say(
        f"{plan.model}, {parameters:,} parameters to train, {plan.size} px, on {plan.data}: "
        f"{len(run.data.class_names)} classes; {counts} images"
    )
    for line in tabulate_classes(run.data):
        say(line)
    name, share = find_majority(splits[run.data.held_out].labels, run.data.class_names)
    say(
        f"baseline: always saying {name!r}, the most frequent class, is right for {share:.1%} of "
        f"the {run.data.held_out} images"
    )
    if plan.peak_rule:
        say(plan.peak_rule)
    if rate := measure_loader(run):
        say(f"the loader alone gives {rate:.0f} images/s")


def tabulate_classes(data: Data) -> Iterator[str]:
    """Images of each class and split, in lines; of many classes the fewest and the most."""
    counts, splits = data.images_per_class, list(data.splits)
    if len(counts) > MAX_CLASSES:
        for split in splits:
            fewest, *_, most = sorted(counts, key=lambda label: counts[label][split])
            yield (
                f"{split} images of a class: {counts[fewest][split]} ({fewest}) to "
                f"{counts[most][split]} ({most})"
            )
        return
    width = max(len("class"), *map(len, counts))
    widths = [max(7, len(split)) for split in splits]
    for label, row in ({"class": dict(zip(splits, splits, strict=True))} | counts).items():
        cells = [f"{row[split]:>{w}}" for split, w in zip(splits, widths, strict=True)]
        yield f"{label:<{width}}  {'  '.join(cells)}"


def measure_loader(run: Run) -> float | None:
    """Images per second when nothing else is done; `None` where an epoch is too short to tell.

    Batches that were made while the loader started would count as made in no time, so as many as
    may be are passed over; and because they come in bunches, no fewer are timed.
    """
    ahead = count_batches_ahead(run.plan.workers)
    if run.state.steps_per_epoch < 2 * ahead:
        return None
    with contextlib.closing(run.read_batches(epoch=0)) as batches:
        for _ in itertools.islice(batches, ahead):
            pass
        images, began = 0, time.monotonic()
        for count, batch in enumerate(batches, 1):
            images += len(batch.images)
            lasted = time.monotonic() - began
            if count >= ahead and lasted > PROBE_SECONDS:
                break
        return images / max(1e-9, lasted)


def say_damage(run: Run, looked: int) -> None:
    """Say how many images cannot be read, and how many were not looked at before the training."""
    found = run.state.bad_images.counts()
    if found["damaged"]:
        path = run.state.bad_images.path
        say(
            f"warning: {found['damaged']} of {found['images']} images cannot be read and are left "
            f"out{f': {path}' if path else ''}"
        )
    if lost := run.state.bad_images.lost_classes:
        say(f"warning: no image of {listed(lost)} can be read: the network cannot learn that")
    if looked < found["images"]:
        say(
            f"looked for damage in {looked} of {found['images']} images, the others are looked at "
            "as they are used"
        )


def say_going_on(step: int | None) -> None:
    """Say where a run goes on: after so many steps, or from its start."""
    where = "the start, for it has no checkpoint yet" if step is None else f"step {step}"
    say(f"senet: going on from {where}")


def say_warnings(warnings: Iterable[str]) -> None:
    """Say what makes scores other than they seem, a line each."""
    for line in warnings:
        say(f"warning: {line}")


def say_machine_changes(changes: Sequence[str]) -> None:
    """Say why a run does not go on with the same bits, if it does not."""
    if changes:
        say(
            f"senet: the run began with {'; '.join(changes)}: it goes on, but not bit for bit "
            "as it would have"
        )


def say_finished(folder: pathlib.Path) -> None:
    """Say that nothing is left to do."""
    say(f"senet: the run in {str(folder)!r} is finished")


def say_damaged(checkpoints: Iterable[str]) -> None:
    """Say which checkpoints are damaged, a line each."""
    for line in checkpoints:
        say(f"senet: {line}")


def describe_steps(state: State) -> str:
    """Loss and accuracy of the epoch so far, for the progress."""
    if not state.losses:
        return ""
    loss, accuracy = state.average_steps()
    return f"loss {loss:.3f}, accuracy {accuracy:.1%}"


def say_skipped(state: State, not_finite: str) -> None:
    """Say that a step was passed over."""
    say(f"\nsenet: skipped step {state.step + 1}: {not_finite} is no number")


def say_epoch(run: Run) -> None:
    """Say the numbers of the last epoch, and how much time is left."""
    state, epochs = run.state, run.plan.epochs
    row, done = state.history[-1], len(state.history)
    left = state.seconds / done * (epochs - done)
    baseline = find_majority(run.data.split("validation").labels, run.data.class_names)[1]
    slow = f" ({row['waiting']:.0%} waiting for images)" if row["waiting"] > SLOW_SHARE else ""
    say(
        f"epoch {row['epoch']}/{epochs}: loss {row['loss']:.3f}, accuracy {row['accuracy']:.1%}"
        f" | validation loss {row['val_loss']:.3f}, accuracy {row['val_accuracy']:.1%}"
        f" (baseline {baseline:.1%})"
        f" | {row['images_per_second']:.0f} images/s{slow}, {clock(left)} left"
    )


def say_stopped(run: Run, stopped: Stopped) -> None:
    """Say that a signal ended the run, and how to go on."""
    say(
        f"senet: {stopped} after step {run.state.step}; to go on: senet train --resume {run.folder}"
    )


def say(line: str) -> None:
    """Print to standard error at once, so that logs show it while the run works."""
    shown = "\n".join(map(escape_text, line.split("\n")))
    print(shown, file=sys.stderr, flush=True)
