"""What each gate is worth, and which can go without a loss.

Every gate is replaced by its mean over training images, and by 1, one block at a time. Then the
means replace the gates one after the other, those first that cost least, and of the networks on the
way the smallest is taken that is still good enough on validation images.
"""

import dataclasses
import functools
import json
import os
import pathlib
import shutil
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from senet import timing
from senet.data.preprocessing import Preprocessing
from senet.data.sources import Data, Source
from senet.errors import InputError
from senet.evaluation import SHOWN, Evaluation, batches, evaluate
from senet.explanation.findings import label_block
from senet.explanation.sampling import spread_evenly
from senet.explanation.statistics import GateCounter
from senet.files import replacing_folder
from senet.graph import call_sources, find_tensor, rebuild, set_weights
from senet.models.folding import blocks_to_fold, with_constant_gates
from senet.models.layout import Layout
from senet.plotting import charts
from senet.progress import meter
from senet.runs.folder import MODEL, RECORD, is_run

MANIFEST = "fold.json"
"""The numbers of a folding; also the file by which a folder of ours is known."""
ROUNDING = 1e-4
"""Largest difference of a probability in float32 that rounding explains."""
Gates = Mapping[str, np.ndarray | None]
"""Constants by the name of the layer that scales; `None` is 1, which is no gate."""


@dataclasses.dataclass(frozen=True)
class Score:
    """Predictions on validation images.

    Args:
        top1: share of the images that are right, 0 to 1.
        loss: mean of `-log p` of the true class, nats.
    """

    top1: float
    loss: float


@dataclasses.dataclass(frozen=True)
class Worth:
    """What the gate of one block is worth, all others being as they were.

    Args:
        block: the layer that scales.
        mean: with the gate at its mean.
        dropped: without it.
        parameters: of the network without this gate.
        milliseconds: of that network, for one image, median.
    """

    block: str
    mean: Score
    dropped: Score
    parameters: int
    milliseconds: float


@dataclasses.dataclass(frozen=True)
class Step:
    """A network with some gates at their means.

    Args:
        block: whose gate went last; `None` where none went.
        score: on validation images.
        parameters: of the network.
        milliseconds: for one image, median.
    """

    block: str | None
    score: Score
    parameters: int
    milliseconds: float


@dataclasses.dataclass(frozen=True)
class Folding:
    """What came of folding.

    Args:
        worth: of each gate, in network order.
        steps: from none folded to all, cheapest first.
        folded: number of gates that went.
        before: on test images.
        after: on the same, with these gates folded.
        max_drop: what was allowed, percentage points.
        difference: largest difference of a probability between the folded network and the network
            with constant gates.
        warnings: which images could not be read, and what the scores hide.
    """

    worth: list[Worth]
    steps: list[Step]
    folded: int
    before: Evaluation
    after: Evaluation
    max_drop: float
    difference: float
    warnings: tuple[str, ...] = ()

    @property
    def drop(self) -> float:
        """Top-1 lost on test images, percentage points; negative if it was won."""
        return 100 * (self.before.top1 - self.after.top1)

    def to_json(self) -> dict[str, Any]:
        """The numbers as plain JSON values."""
        return dict(
            folded=[step.block for step in self.steps[1 : self.folded + 1]],
            blocks=len(self.worth),
            max_drop=self.max_drop,
            test=dict(
                images=len(self.after.labels),
                top1_before=self.before.top1,
                top1=self.after.top1,
                baseline=self.after.majority[1],
                loss_before=self.before.loss,
                loss=self.after.loss,
                drop=self.drop,
                confirmed=bool(self.drop <= self.max_drop),
            ),
            parameters_before=self.steps[0].parameters,
            parameters=self.steps[self.folded].parameters,
            milliseconds_before=self.steps[0].milliseconds,
            milliseconds=self.steps[self.folded].milliseconds,
            difference=self.difference,
            worth=[dataclasses.asdict(worth) for worth in self.worth],
            steps=[dataclasses.asdict(step) for step in self.steps],
        )


def fold_within(
    model: keras.Model,
    data: Data,
    preprocessing: Preprocessing,
    folder: str | os.PathLike,
    *,
    save: Callable[[Gates, pathlib.Path], None],
    max_drop: float = 0.1,
    images: int = 2000,
    batch_size: int = 64,
    run: pathlib.Path | None = None,
    about: Mapping[str, Any] | None = None,
) -> Folding:
    """Fold as many gates as validation images allow, and confirm it on test images.

    The folder gets `model.keras`, `fold.json` with the numbers, `tradeoff.png`, and the `run.json`
    of a run, which says what its images are.

    Args:
        model: a functional Keras model with squeeze and excitation that gives probabilities.
        data: with the splits train, validation and test.
        preprocessing: makes inputs of images.
        folder: to write; an earlier folding there is replaced.
        save: writes the network with these constant gates to a path.
        max_drop: top-1 that may be lost on validation images, percentage points.
        images: training images to take means over and validation images to choose by, at most,
            evenly spread. Of test images all count.
        batch_size: images in a batch.
        run: folder of the run that the network comes of.
        about: what else to say in `fold.json`, as which images these are.

    Returns:
        The numbers.

    Raises:
        ValueError: the model has no squeeze-and-excitation blocks, a split is missing, or the
            folded network does not give what the network with constant gates gives.
        FileExistsError: the folder holds something else.
    """
    missing = [name for name in ("train", "validation", "test") if name not in data.splits]
    if missing:
        raise InputError(
            "Folding needs training images for the means, validation images to choose by and test "
            f"images to confirm on; there is no split {' and no '.join(missing)}."
        )
    training, validation = (_at_most(data.split(name), images) for name in ("train", "validation"))
    classes = len(data.class_names)
    with replacing_folder(folder, MANIFEST) as written:
        counter = GateCounter(model, np.zeros(len(training), int))  # means need no classes
        bad: dict[str, set[int]] = dict(train=set(), validation=set())
        reading = batches(
            training, preprocessing, classes, batch_size, label="mean gates", bad=bad["train"]
        )
        for batch in reading:
            counter.watch(batch)
        means = {name: block.mean for name, block in counter.blocks.items()}
        switched = _Switched(model, means)
        given = (switched, validation, preprocessing, batch_size)
        alone = [{name: gate} for name, mean in means.items() for gate in (mean, None)]
        before, *scores = _scores([{}, *alone], *given, "each gate", bad["validation"])
        whole, *sizes = _sizes(model, alone[::2], "latency of each")
        worth = [
            Worth(name, scores[2 * i], scores[2 * i + 1], *sizes[i]) for i, name in enumerate(means)
        ]
        order = [w.block for w in sorted(worth, key=lambda w: (-w.mean.top1, w.mean.loss))]
        ways = [{name: means[name] for name in order[:k]} for k in range(1, len(order) + 1)]
        _, *sizes = _sizes(model, ways, "latency together", whole[1])
        together = _scores(ways, *given, label="together")
        steps = [Step(None, before, *whole)] + [
            Step(name, score, *size)
            for name, score, size in zip(order, together, sizes, strict=True)
        ]
        folded = max(
            k
            for k, step in enumerate(steps)
            if 100 * (before.top1 - step.score.top1) <= max_drop + 1e-9
        )
        gates = ways[folded - 1] if folded else {}
        smaller = with_constant_gates(model, gates) if folded else model
        difference = _difference(smaller, switched, gates, validation, preprocessing)
        known = data.class_names
        test = (data.split("test"), preprocessing, known)
        first = evaluate(model, *test, batch_size=batch_size, label="test, before")
        after = evaluate(smaller, *test, batch_size=batch_size, label="test, after")
        warnings = (*_describe_bad(bad, training, validation), *after.warnings)
        result = Folding(worth, steps, folded, first, after, max_drop, difference, warnings)
        save(gates, written / MODEL)
        numbers = dict(about or {}) | result.to_json()
        numbers["warnings"] = [*numbers.get("warnings", ()), *warnings]
        (written / MANIFEST).write_text(json.dumps(numbers, indent=1) + "\n", "utf-8")
        if run is not None and is_run(run):
            shutil.copyfile(run / RECORD, written / RECORD)
        _draw(result, len(validation), written / "tradeoff.png")
    return result


def table(result: Folding) -> Iterator[str]:
    """The numbers in lines: each gate alone, then one after the other."""
    before = result.steps[0]
    width = max(17, *(len(label_block(w.block)) for w in result.worth))
    yield (
        f"{'each gate alone':<{width}}  at its mean    loss    dropped    loss  parameters      ms"
    )
    for w in result.worth:
        yield (
            f"{label_block(w.block):<{width}}  {w.mean.top1:>11.2%}  {w.mean.loss:>6.4f}  "
            f"{w.dropped.top1:>9.2%}  {w.dropped.loss:>6.4f}  {w.parameters:>10,}  "
            f"{w.milliseconds:>6.2f}"
        )
    yield ""
    yield f"{'one after the other':<{width + 2}}   top-1    loss  parameters      ms"
    for k, step in enumerate(result.steps):
        name = "none folded" if step.block is None else f"+ {label_block(step.block)}"
        mark = "  <- folded up to here" if k == result.folded else ""
        yield (
            f"{name:<{width + 2}}  {step.score.top1:>6.2%}  {step.score.loss:>6.4f}  "
            f"{step.parameters:>10,}  {step.milliseconds:>6.2f}{mark}"
        )
    yield ""
    after = result.steps[result.folded]
    lost = f"{result.drop:.2f} points lost" if result.drop > 0 else "nothing lost"
    yield (
        f"{result.folded} of {len(result.worth)} gates folded: top-1 on "
        f"{len(result.after.labels)} test images {result.before.top1:.2%} before, "
        f"{result.after.top1:.2%} after ({lost}, {result.max_drop:g} allowed: "
        f"{'confirmed' if result.drop <= result.max_drop else 'NOT confirmed'}; baseline "
        f"{result.after.majority[1]:.2%}); parameters "
        f"{before.parameters:,} to {after.parameters:,}; {before.milliseconds:.2f} to "
        f"{after.milliseconds:.2f} ms for an image"
    )


class _Switch(keras.layers.Layer):
    """Lets a gate pass, or gives a constant in its place; never saved."""

    def __init__(self, axis: int) -> None:
        super().__init__(dtype="float32")
        self.axis = axis  # of the channels, where the gate has the shape of maps

    def build(self, shape: Sequence[int | None]) -> None:
        axis = self.axis % len(shape) if len(shape) == 4 else len(shape) - 1
        sides = [shape[axis] if i == axis else 1 for i in range(1, len(shape))]
        self.keep = self.add_weight(shape=(), initializer="ones", trainable=False, name="keep")
        self.constant = self.add_weight(
            shape=sides, initializer="zeros", trainable=False, name="constant"
        )

    def call(self, gate: Any) -> Any:
        return gate * self.keep + self.constant

    def compute_output_shape(self, shape: Any) -> Any:
        return shape

    def hold(self, constant: np.ndarray | float | None) -> None:
        """Give this constant, `(C,)` or one number; without one let the gate pass."""
        self.keep.assign(1.0 if constant is None else 0.0)
        given = np.broadcast_to(0.0 if constant is None else constant, np.size(self.constant))
        self.constant.assign(given.reshape(self.constant.shape).astype("float32"))


def _replace(old: Any, new: Any, given: Any) -> Any:
    return new if given is old else given


class _Switched:
    """A copy of a network whose gates can be held, so that one graph measures all foldings."""

    def __init__(self, model: keras.Model, names: Mapping[str, Any]) -> None:
        self.switches: dict[str, _Switch] = {}
        blocks = {block.scale: block for block in blocks_to_fold(model, names)}
        sources, layout = call_sources(model), Layout(model)
        for name, block in blocks.items():
            self.switches[name] = _Switch(layout.find_channel_axis(block.scaled))

        def call(layer, *args, **kwargs):
            if layer.name in blocks:
                source = blocks[layer.name].gate
                gate = find_tensor(source, sources[layer.name, 0], args, kwargs)
                held = self.switches[layer.name](gate)
                put = functools.partial(_replace, gate, held)
                args, kwargs = keras.tree.map_structure(put, (args, kwargs))
            return layer(*args, **kwargs)

        self.model = rebuild(model, call=call)
        for layer in model.layers:
            if layer.weights:
                set_weights(self.model.get_layer(layer.name), layer.get_weights())

    def hold(self, gates: Gates) -> None:
        for name, switch in self.switches.items():
            switch.hold((1.0 if gates[name] is None else gates[name]) if name in gates else None)


def _at_most(source: Source, count: int) -> Source:
    """At most so many images of a source, evenly spread."""
    return source.take(spread_evenly(len(source), count))


def _describe_bad(
    bad: Mapping[str, set[int]], training: Source, validation: Source
) -> Iterator[str]:
    """How many images could not be read, a sentence for each split that has some."""
    for (name, indices), source in zip(bad.items(), (training, validation), strict=True):
        if indices:
            some = ", ".join(str(source.names[i]) for i in sorted(indices)[:SHOWN])
            yield (
                f"{len(indices)} of {len(source)} {name} images cannot be read and do not count: "
                f"{some}{', ...' if len(indices) > SHOWN else ''}."
            )


def _scores(
    ways: Sequence[Gates],
    switched: _Switched,
    source: Source,
    preprocessing: Preprocessing,
    batch_size: int,
    label: str,
    bad: set[int] | None = None,
) -> list[Score]:
    """Scores with these gates held; every image is read once, those that cannot be go to `bad`."""
    right, loss, count = np.zeros(len(ways)), np.zeros(len(ways)), 0
    classes = switched.model.output.shape[-1]
    for batch in batches(source, preprocessing, classes, batch_size, label=label, bad=bad):
        labels = source.labels[batch.indices]
        count += len(labels)
        for k, gates in enumerate(ways):
            switched.hold(gates)
            probabilities = switched.model.predict_on_batch(batch.images)
            right[k] += (probabilities.argmax(axis=1) == labels).sum()
            chosen = probabilities[np.arange(len(labels)), labels].astype("float64")
            loss[k] -= np.log(np.maximum(chosen, 1e-7)).sum()
    if not count:
        raise InputError("None of the validation images can be read.")
    return [Score(float(r / count), float(x / count)) for r, x in zip(right, loss, strict=True)]


def _sizes(
    model: keras.Model, ways: Sequence[Gates], label: str, base: float = 0.0
) -> list[tuple[int, float]]:
    """Parameters and milliseconds for one image, of a network and of each folding of it.

    Each is timed in turn with the network as it was, and its time is that of the network times the
    ratio, so that a machine that slows down meanwhile does not count. `base` is the time of the
    network, where it is known.
    """
    image = np.zeros((1, *model.input.shape[1:]), "float32")
    whole, found = _compiled(model, image), []
    with meter(label, len(ways), "networks") as progress:
        for gates in ways:
            folded = with_constant_gates(model, gates)
            before, after = timing.in_turn([whole, _compiled(folded, image)])
            base = base or 1000 * statistics.median(before)
            found.append((folded.count_params(), base * timing.ratio(after, before)))
            progress.advance(1)
    return [(model.count_params(), base), *found]


def _compiled(model: keras.Model, image: np.ndarray) -> Callable[[], Any]:
    """One image through a network, as the backend runs it at its best."""
    given = keras.ops.convert_to_tensor(image)

    def forward(x: Any) -> Any:
        return model(x, training=False)

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        forward = tf.function(forward)
    elif backend == "jax":
        import jax

        forward = jax.jit(forward)
    elif backend == "torch":
        import torch

        forward = torch.no_grad()(forward)
    return lambda: keras.ops.convert_to_numpy(forward(given))


def _difference(
    folded: keras.Model,
    switched: _Switched,
    gates: Gates,
    source: Source,
    preprocessing: Preprocessing,
) -> float:
    """Largest difference between a folded network and the network with constant gates."""
    few = _at_most(source, 16)
    classes = switched.model.output.shape[-1]
    (batch,) = batches(few, preprocessing, classes, 16, label="comparing")
    switched.hold(gates)
    ours, theirs = (m.predict_on_batch(batch.images) for m in (folded, switched.model))
    difference = float(np.abs(ours.astype("float64") - theirs).max())
    if difference > ROUNDING and folded.layers[1].compute_dtype == "float32":
        raise InputError(
            f"The folded network differs by {difference:.1e} from the network with constant gates, "
            "which is more than rounding. Nothing was written. Please report this network."
        )
    return difference


def _draw(result: Folding, images: int, path: pathlib.Path) -> None:
    labels = ["none"] + [f"+ {label_block(step.block or '')}" for step in result.steps[1:]]
    charts.tradeoff(
        labels,
        [dataclasses.asdict(step) | dataclasses.asdict(step.score) for step in result.steps],
        path,
        chosen=result.folded,
        allowed=result.steps[0].score.top1 - result.max_drop / 100,
        title=f"Gates folded one after the other, on {images} validation images",
    )
