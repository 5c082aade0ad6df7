"""`senet.benchmark`: how fast a network is on this machine."""

import contextlib
import dataclasses
import os
import statistics
from typing import Any

from senet.benchmarking.measuring import Measurement, measure
from senet.benchmarking.subjects import (
    INFER,
    MODES,
    TRAIN,
    Subject,
    inference_subject,
    training_subject,
)
from senet.errors import InputError, one_family
from senet.models.family import VARIANTS, require
from senet.prediction.trained import TrainedLike
from senet.runs.machine import describe_machine
from senet.tasks.arguments import require_count

BATCH_SIZES = {TRAIN: 32, INFER: 1}
"""Images in a step where nothing says how many."""
PRECISIONS = ("float32", "mixed_bfloat16")
BUSY = 0.1
"""Cores that other processes may use before the figures are called too low."""


@dataclasses.dataclass(frozen=True, repr=False)
class BenchmarkResult:
    """How fast a network is, and how fast it could be.

    Args:
        subject: what was timed.
        measurement: its times, and what the machine could do.
        machine: processor, cores, versions.

    Example:
        >>> result = senet.benchmark("se_resnet20_cifar", "train", batch_size=8, repeats=3)
        >>> result.images_per_second == 8 / result.milliseconds * 1000
        True
    """

    subject: Subject
    measurement: Measurement
    machine: dict[str, Any]

    @property
    def milliseconds(self) -> float:
        """Of a step: the median of the repeats."""
        return 1000 * statistics.median(self.measurement.seconds)

    @property
    def images_per_second(self) -> float:
        """Of the median step."""
        return self.subject.batch_size / self.milliseconds * 1000

    @property
    def spread(self) -> tuple[float, float]:
        """Images per second of the slowest repeat and of the fastest."""
        seconds = self.measurement.seconds
        return self.subject.batch_size / max(seconds), self.subject.batch_size / min(seconds)

    @property
    def limit(self) -> float | None:
        """Images per second if all were matrix products; `None` where that is not known."""
        limits, work = self.measurement.limits, self.subject.work
        if limits is None or work is None:
            return None
        return self.subject.batch_size * limits.operations / work.operations

    @property
    def share(self) -> float | None:
        """Of that limit; 1 is all of it, and a runtime of its own may come to more."""
        return self.limit and self.images_per_second / self.limit

    @property
    def memory_share(self) -> float | None:
        """Of a step, what moving its least bytes at the speed of a copy would take."""
        limits, work = self.measurement.limits, self.subject.work
        if limits is None or work is None:
            return None
        return work.bytes / limits.bytes / (self.milliseconds / 1000)

    @property
    def warnings(self) -> list[str]:
        """What makes the figures other than they seem, a sentence each."""
        busy = self.measurement.busy_cores
        if busy is None or busy < BUSY:
            return []
        return [
            f"Other processes used {busy:.1f} of {self.machine['cores']} cores meanwhile: the "
            "network is faster than this on an idle machine."
        ]

    def to_json(self) -> dict[str, Any]:
        """All as plain JSON values: the last line of `senet benchmark`."""
        subject, measured = self.subject, self.measurement
        slowest, fastest = self.spread
        limits = measured.limits and dataclasses.asdict(measured.limits)
        return dict(
            network=subject.network,
            mode=subject.mode,
            batch_size=subject.batch_size,
            size=subject.size,
            precision=subject.precision,
            acceleration=subject.acceleration,
            runtime=subject.runtime,
            images_per_second=self.images_per_second,
            spread=[slowest, fastest],
            milliseconds=self.milliseconds,
            seconds=list(measured.seconds),
            steps=measured.steps,
            first_seconds=measured.first,
            peak_memory=measured.peak_memory,
            busy_cores=measured.busy_cores,
            work=subject.work and dataclasses.asdict(subject.work),
            machine_limits=limits,
            limit=self.limit,
            share=self.share,
            memory_share=self.memory_share,
            machine=self.machine,
        )

    def __str__(self) -> str:
        """A table of it."""
        rows = [*self._describe_speed(), *self._describe_limits()]
        widest = max(len(name) for name, _ in rows)
        return "\n".join([self._describe_subject(), *(f"{n:<{widest}}  {v}" for n, v in rows)])

    def __repr__(self) -> str:
        return "\n".join([str(self), *(f"warning: {line}" for line in self.warnings)])

    def _describe_subject(self) -> str:
        subject = self.subject
        what = {TRAIN: "training", INFER: "inference"}[subject.mode]
        images = f"{subject.batch_size} image{'s'[: subject.batch_size != 1]}"
        runtime = subject.runtime or self.machine["backend"]
        stock = ", without the twin" if subject.acceleration is False else ""
        return (
            f"{subject.network}, {what}, {images} of {subject.size} x {subject.size} pixels in a "
            f"step, {subject.precision}, {runtime}{stock}"
        )

    def _describe_speed(self) -> list[tuple[str, str]]:
        measured, (slowest, fastest) = self.measurement, self.spread
        peak = measured.peak_memory
        each = "a step" if measured.steps == 1 else f"{measured.steps} steps"
        return [
            (
                "images per second",
                f"{self.images_per_second:.1f} ({slowest:.1f} to {fastest:.1f} in "
                f"{len(measured.seconds)} repeat{'s'[: len(measured.seconds) != 1]} of {each})",
            ),
            ("time of a step", f"{self.milliseconds:.1f} ms; the first {measured.first:.1f} s"),
            ("peak memory", "not told" if peak is None else f"{peak / 2**30:.2f} GiB"),
        ]

    def _describe_limits(self) -> list[tuple[str, str]]:
        limits, limit = self.measurement.limits, self.limit
        if limits is None:
            return [("limit", "not known: Keras has no matrix product in int8 to compare with")]
        if limit is None:
            return [("limit", "not known: the network's multiply-adds are not")]
        return [
            (
                "limit",
                f"{limit:.1f} images per second by the matrix product in {limits.precision}, "
                f"{limits.operations / 1e9:,.0f} GFLOP/s",
            ),
            ("of the limit", f"{self.share:.0%}"),
            (
                "memory",
                f"{self.memory_share:.0%} of a step, if maps and weights alone moved at "
                f"{limits.bytes / 1e9:.1f} GB/s",
            ),
        ]


@one_family()
def benchmark(
    network: TrainedLike,
    mode: str = INFER,
    *,
    batch_size: int | None = None,
    size: int | None = None,
    precision: str | None = None,
    variant: str | None = None,
    repeats: int = 10,
    acceleration: bool = True,
) -> BenchmarkResult:
    """Measure how fast a network is on this machine, and how far from what the machine could do.

    `"train"` times the step of `senet.train`: forward, backward and update of the twin, by its
    optimizer. `"infer"` times what `senet.predict` asks of the network. Images are in memory:
    reading, cropping and augmenting them is no part of either. The first step, which compiles, is
    told by itself; two more do not count. Memory is that of the process, not of a graphics card.

    The limit is that of a large matrix product of the backend in the same precision (4096 x 4096
    values on a processor of today), at 2 operations for each multiply-add of the network, in
    training 6.

    Args:
        network: name of a network, whose weights are random then; or whatever `senet.predict`
            takes, exported networks too. To train: a name, a run, a file or published weights.
        mode: `"train"` or `"infer"`.
        batch_size: images in a step; 32 to train and 1 to infer by default.
        size: side of the input, pixels; the network's own by default.
        precision: `"float32"` or `"mixed_bfloat16"`; by default `"float32"`, or what an exported
            network runs in.
        variant: of a named network: `"seed"` (the default), `"caffe"` or `"torch"`.
        repeats: that count; one is as many steps as take a fifth of a second.
        acceleration: whether the twin is trained; `senet.predict` has none.

    Returns:
        A `BenchmarkResult`; `print` shows it as a table.

    Raises:
        InputError: an argument does not fit the network.
        NotFoundError: there is no such network.
        CapacityError: a step takes more memory than there is.

    Example:
        >>> result = senet.benchmark("se_resnet20_cifar", "train", repeats=3)
        >>> 0 < result.share < 1
        True
    """
    require("mode", mode, MODES)
    batch_size = BATCH_SIZES[mode] if batch_size is None else batch_size
    require_count("batch_size", batch_size)
    require_count("repeats", repeats)
    if size is not None:
        require_count("size", size, 32)
    if precision is not None:
        require("precision", precision, PRECISIONS)
    if variant is not None:
        require("variant", variant, VARIANTS)
    given: dict[str, Any] = dict(batch_size=batch_size, size=size)
    given |= dict(precision=precision, variant=variant)
    with contextlib.ExitStack() as held:
        if mode == TRAIN:
            if not isinstance(network, str | os.PathLike):
                raise InputError(
                    "To train a network for a while would change it: name it, or a run or file."
                )
            subject = held.enter_context(
                training_subject(network, **given, acceleration=acceleration)
            )
        else:
            if not acceleration:
                raise InputError(
                    "Only training has a twin to be turned off: leave acceleration=False "
                    "(--no-acceleration) out."
                )
            subject = inference_subject(network, **given)
        return BenchmarkResult(subject, measure(subject, repeats), describe_machine())
