"""What each gate is worth, and which can go without a loss.

Every gate is replaced by its mean over training images, and by 1, one block at a time. Then the
gates go one after the other, those first that cost least, and of the networks on the way the
smallest is taken that is still good enough on validation images.
"""

import dataclasses
import fnmatch
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from senet import timing
from senet.data.preprocessing import Preprocessing
from senet.data.sources import Data, Source
from senet.errors import InputError
from senet.evaluation import SHOWN, Evaluation, PairedDifference, batches, compare, evaluate
from senet.explanation.findings import label_block
from senet.explanation.sampling import spread_evenly
from senet.explanation.statistics import GateCounter
from senet.explanation.switching import Gates, SwitchedNetwork
from senet.foreign import listed
from senet.graph import functional, rebuild, set_weights
from senet.models.complexity import complexity
from senet.models.folding import blocks_to_fold, explain_refusals, with_constant_gates
from senet.models.graph import se_blocks
from senet.progress import meter

ROUNDING = 1e-3
"""Largest difference of a probability in float32 that rounding explains, on GPUs that round the
factors of products to 10 bits too."""


@dataclasses.dataclass(frozen=True)
class Score:
    """Predictions on validation images.

    Args:
        top1: share of the images that are right, 0 to 1.
        loss: mean of `-log p` of the true class, nats.
    """

    top1: float
    loss: float

    @property
    def rank(self) -> tuple[float, float]:
        """Smaller for a better one: top-1 counts, and of equal ones the loss."""
        return -self.top1, self.loss


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a network takes.

    Args:
        parameters: of all its layers.
        multiply_adds: of one image; `None` where they cannot be counted.
        milliseconds: for one image in Keras, median.
    """

    parameters: int
    multiply_adds: int | None
    milliseconds: float


@dataclasses.dataclass(frozen=True)
class Worth:
    """What the gate of one block is worth, all others being as they were.

    Args:
        block: the layer that scales.
        mean: with the gate at its mean over training images.
        dropped: without it, which is a gate of 1.
        cost: of the network without this gate.
        refusal: why no layer takes the mean in, as the only constant, so that the gate can only be
            dropped; or `None`.
    """

    block: str
    mean: Score
    dropped: Score
    cost: Cost
    refusal: str | None = None

    @property
    def is_dropped(self) -> bool:
        """Whether it is the better way, or the only one, to drop the gate."""
        return self.refusal is not None or self.dropped.rank < self.mean.rank

    @property
    def best(self) -> Score:
        """Of what can be done with the gate."""
        return self.dropped if self.is_dropped else self.mean

    def to_json(self) -> dict[str, Any]:
        """This record as plain JSON values."""
        scores = dict(mean=vars(self.mean), dropped=vars(self.dropped))
        about = dict(block=self.block) | scores | vars(self.cost)
        return about | dict(refusal=self.refusal)


@dataclasses.dataclass(frozen=True)
class Step:
    """A network without some gates.

    Args:
        block: whose gate went last; `None` where none went.
        score: on validation images.
        cost: of the network.
    """

    block: str | None
    score: Score
    cost: Cost

    def to_json(self) -> dict[str, Any]:
        """This record as plain JSON values."""
        return dict(block=self.block) | vars(self.score) | vars(self.cost)


@dataclasses.dataclass(frozen=True)
class Folding:
    """What came of measuring and folding.

    Args:
        worth: of each gate, in network order.
        steps: from none folded to all, cheapest first.
        gates: those that went, by the name of the layer that scales: the constant `(C,)`, or `None`
            where it was dropped.
        before: on test images.
        after: on the same, without these gates.
        max_drop: what was allowed, percentage points.
        difference: largest difference of a probability between the folded network and the network
            with constant gates.
        images: validation images.
        warnings: which images could not be read, and what the scores hide.
    """

    worth: list[Worth]
    steps: list[Step]
    gates: Gates
    before: Evaluation
    after: Evaluation
    max_drop: float
    difference: float
    images: int
    warnings: tuple[str, ...] = ()

    @property
    def drop(self) -> float:
        """Top-1 lost on test images, percentage points; negative if it was won."""
        return 100 * (self.before.top1 - self.after.top1)

    @property
    def paired(self) -> PairedDifference:
        """Of the scores before and after on the same test images."""
        return compare(self.before, self.after)

    @property
    def costs(self) -> tuple[Cost, Cost]:
        """Of the network before and after."""
        return self.steps[0].cost, self.steps[len(self.gates)].cost

    def to_json(self) -> dict[str, Any]:
        """The numbers as plain JSON values."""
        before, after = self.costs
        return dict(
            folded={n: "dropped" if gate is None else "constant" for n, gate in self.gates.items()},
            blocks=len(self.worth),
            max_drop=self.max_drop,
            validation=dict(images=self.images),
            test=dict(
                images=len(self.after.labels),
                top1_before=self.before.top1,
                top1=self.after.top1,
                baseline=self.after.majority[1],
                loss_before=self.before.loss,
                loss=self.after.loss,
                drop=self.drop,
                confirmed=bool(self.drop <= self.max_drop + 1e-9),
                **self.paired.to_json(),
            ),
            **{f"{name}_before": value for name, value in vars(before).items()},
            **vars(after),
            difference=self.difference,
            worth=[worth.to_json() for worth in self.worth],
            steps=[step.to_json() for step in self.steps],
        )


def choose_blocks(model: keras.Model, wanted: Sequence[str]) -> list[str]:
    """Names of the layers that scale in the blocks that are wanted, in network order.

    Args:
        model: a functional Keras model.
        wanted: names of blocks, as `"stage4_block1"` or of the layer that scales, or shell patterns
            of such names; none stand for all.

    Raises:
        ValueError: the model has no squeeze-and-excitation blocks, or none of such a name.
    """
    names = [block.scale for block in se_blocks(model)]
    fits = {
        pattern: {
            name
            for name in names
            if fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(label_block(name), pattern)
        }
        for pattern in wanted
    }
    if unknown := [pattern for pattern, found in fits.items() if not found]:
        raise InputError(
            f"No block is called {listed(unknown)}; the blocks of {model.name!r} are "
            f"{', '.join(label_block(name) for name in names)}."
        )
    chosen = [name for name in names if any(name in found for found in fits.values())]
    if not wanted:  # those of models inside it stay, unless there are no others
        chosen = [name for name in names if "/" not in name] or names
    return [block.scale for block in blocks_to_fold(model, chosen)]


def measure_folding(
    model: keras.Model,
    data: Data,
    preprocessing: Preprocessing,
    *,
    blocks: Sequence[str] = (),
    max_drop: float = 0.1,
    images: int = 2000,
    batch_size: int = 64,
) -> Folding:
    """Find which gates can go, as many as validation images allow, and confirm it on test images.

    Training images are read once, for the means; validation images twice, for each gate alone and
    for the gates one after the other; test images twice, before and after. For each candidate the
    network is computed from the first block whose gate is held.

    Args:
        model: a functional Keras model with squeeze and excitation that gives probabilities.
        data: with the splits train, validation and test.
        preprocessing: makes inputs of images.
        blocks: those that may lose their gates, as for `choose_blocks`.
        max_drop: top-1 that may be lost on validation images, percentage points.
        images: training images to take means over and validation images to choose by, at most,
            evenly spread. Of test images all count.
        batch_size: images in a batch.

    Returns:
        The numbers, and the gates that go.

    Raises:
        ValueError: the model has no such blocks, a split is missing, or no image of one can be
            read.
    """
    missing = [name for name in ("train", "validation", "test") if name not in data.splits]
    if missing:
        raise InputError(
            "Folding needs training images for the means, validation images to choose by and test "
            f"images to confirm on; there is no split {' and no '.join(missing)}."
        )
    model = functional(model)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise InputError(
            f"{model.name!r} must have one input and one output to be measured on labelled images; "
            f"it has {len(model.inputs)} and {len(model.outputs)}."
        )
    model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)  # of lists of one, too
    names = choose_blocks(model, blocks)
    training, validation = (_at_most(data.split(name), images) for name in ("train", "validation"))
    bad: dict[str, set[int]] = dict(train=set(), validation=set())
    means = _means(model, names, training, preprocessing, batch_size, bad["train"])
    refusals = explain_refusals(model, means)
    switched = SwitchedNetwork(model, names)
    given = (switched, validation, preprocessing, batch_size)
    alone = [{name: gate} for name, mean in means.items() for gate in (mean, None)]
    before, *scores = _scores([{}, *alone], *given, "each gate", bad["validation"])
    sized = _with_size(model, preprocessing.size)
    whole, *costs = _costs(sized, [{name: None} for name in names], "latency of each")
    worth = [
        Worth(name, scores[2 * i], scores[2 * i + 1], costs[i], refusals.get(name))
        for i, name in enumerate(names)
    ]
    order = {w.block: None if w.is_dropped else means[w.block] for w in cheapest_first(worth)}
    ways = [dict(list(order.items())[:k]) for k in range(len(order) + 1)]
    _, *costs = _costs(sized, ways[1:], "latency together", whole.milliseconds)
    together = _scores(ways[1:], *given, "together")
    steps = [Step(None, before, whole)] + [
        Step(name, score, cost) for name, score, cost in zip(order, together, costs, strict=True)
    ]
    gates = max(
        (
            way
            for way, step in zip(ways, steps, strict=True)
            if 100 * (before.top1 - step.score.top1) <= max_drop + 1e-9
        ),
        key=len,
    )
    smaller = with_constant_gates(model, gates)
    readable = np.setdiff1d(np.arange(len(validation)), [*bad["validation"]])
    difference = _difference(smaller, switched, gates, validation.take(readable), preprocessing)
    test = (data.split("test"), preprocessing, data.class_names)
    first = evaluate(model, *test, batch_size=batch_size, label="test, before")
    after = first
    if gates:
        after = evaluate(smaller, *test, batch_size=batch_size, label="test, after")
    warnings = [*_describe_bad(bad, training, validation), *after.warnings]
    if difference > ROUNDING and _in_float32(model):
        warnings.append(
            f"Probabilities of the folded network differ by up to {difference:.1e} from those with "
            "constant gates, which is more than rounding: please report this network."
        )
    if inside := [block.scale for block in se_blocks(model) if "/" in block.scale]:
        warnings.append(f"Gates of models inside the network stay: {listed(inside)}.")
    counted = len(validation) - len(bad["validation"])
    return Folding(
        worth, steps, gates, first, after, max_drop, difference, counted, tuple(warnings)
    )


def cheapest_first(worth: Sequence[Worth]) -> list[Worth]:
    """Gates in the order in which they go: by what is left in the better way of each."""
    return sorted(worth, key=lambda w: w.best.rank)


def describe_folding(found: Folding) -> Iterator[str]:
    """The numbers in lines: each gate alone, then one after the other, and what came of it."""
    width = max(17, *(len(label_block(w.block)) for w in found.worth)) + 2
    size = f"{'parameters':>12}{'multiply-adds':>16}{'ms':>9}"
    yield f"Top-1 and loss on {found.images} validation images"
    yield ""
    yield f"{'each gate alone':<{width}}{'its mean':>10}{'loss':>9}{'dropped':>10}{'loss':>9}{size}"
    for w in found.worth:
        score = f"{w.mean.top1:>10.2%}{w.mean.loss:>9.4f}{w.dropped.top1:>10.2%}"
        mark = "  *" if w.refusal else ""
        yield f"{label_block(w.block):<{width}}{score}{w.dropped.loss:>9.4f}{_sizes(w.cost)}{mark}"
    for w in found.worth:
        if w.refusal:
            yield f"* can only be dropped. {w.refusal}"
    if found.costs[0].multiply_adds is None:
        yield "Multiply-adds are not counted, because a layer is called several times."
    yield ""
    yield f"{'one after another':<{width}}{'top-1':>10}{'loss':>9}{'':>19}{size}"
    dropped = {w.block for w in found.worth if w.is_dropped}
    for k, step in enumerate(found.steps):
        name = "none folded" if step.block is None else f"+ {label_block(step.block)}"
        how = "dropped" if step.block in dropped else "its mean" if step.block else ""
        mark = "  <- folded up to here" if k == len(found.gates) else ""
        score = f"{step.score.top1:>10.2%}{step.score.loss:>9.4f}{how:>10}{'':>9}"
        yield f"{name:<{width}}{score}{_sizes(step.cost)}{mark}"
    yield ""
    yield _conclude(found)


def _sizes(cost: Cost) -> str:
    operations = "-" if cost.multiply_adds is None else f"{cost.multiply_adds:,}"
    return f"{cost.parameters:>12,}{operations:>16}{cost.milliseconds:>9.2f}"


def _conclude(found: Folding) -> str:
    """What was folded and what it cost, a sentence or two."""
    before, after = found.costs
    allowed = f"{found.max_drop:g} points of top-1"
    one = 100 / found.images
    few = f" (One validation image is {one:.2f} points.)" if one > found.max_drop > 0 else ""
    if not found.gates:
        first = found.steps[1]
        lost = 100 * (found.steps[0].score.top1 - first.score.top1)
        return (
            f"No gate can go: {allowed} may be lost on {found.images} validation images, and every "
            f"step above loses more; the first, without {label_block(first.block or '')}, "
            f"{lost:.4g}. The network stays as it is.{few}"
        )
    return (
        f"{len(found.gates)} of {len(found.worth)} gates folded: top-1 on "
        f"{len(found.after.labels)} test images {found.before.top1:.2%} before, "
        f"{found.after.top1:.2%} after, loss {found.before.loss:.4f} before, "
        f"{found.after.loss:.4f} after ({allowed} may be lost: "
        f"{'confirmed' if found.drop <= found.max_drop + 1e-9 else 'NOT confirmed'}; baseline "
        f"{found.after.majority[1]:.2%}). {found.paired} Parameters {before.parameters:,} to "
        f"{after.parameters:,}; {before.milliseconds:.2f} to {after.milliseconds:.2f} ms for an "
        f"image.{few}"
    )


def _means(
    model: keras.Model,
    names: Sequence[str],
    source: Source,
    preprocessing: Preprocessing,
    batch_size: int,
    bad: set[int],
) -> dict[str, np.ndarray]:
    """Mean gate of each block, `(C,)`, over images; those that cannot be read go to `bad`."""
    counter = GateCounter(model, np.zeros(len(source), int))  # means need no classes
    classes = model.output.shape[-1]
    for batch in batches(source, preprocessing, classes, batch_size, label="mean gates", bad=bad):
        counter.watch(batch)
    if len(bad) == len(source):
        raise InputError("None of the training images can be read.")
    return {name: counter.blocks[name].mean for name in names}


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
    switched: SwitchedNetwork,
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
        for k, probabilities in enumerate(switched.predict_on_batch(batch.images, ways)):
            right[k] += (probabilities.argmax(axis=1) == labels).sum()
            chosen = probabilities[np.arange(len(labels)), labels].astype("float64")
            loss[k] -= np.log(np.maximum(chosen, 1e-7)).sum()
    if not count:
        raise InputError("None of the validation images can be read.")
    return [Score(float(r / count), float(x / count)) for r, x in zip(right, loss, strict=True)]


def _costs(model: keras.Model, ways: Sequence[Gates], label: str, base: float = 0.0) -> list[Cost]:
    """Of a network, and of each folding of it.

    Each is timed in turn with the network as it was, and its time is that of the network times the
    ratio, so that a machine that slows down meanwhile does not count. `base` is the time of the
    network, where it is known.
    """
    image = np.zeros((1, *model.input.shape[1:]), "float32")
    whole, found = _compiled(model, image), []
    with meter(label, len(ways), "networks") as progress:
        for gates in ways:
            folded = with_constant_gates(model, dict.fromkeys(gates))  # its values change no cost
            before, after = timing.in_turn([whole, _compiled(folded, image)])
            base = base or 1000 * statistics.median(before)
            found.append(_cost(folded, base * timing.ratio(after, before)))
            progress.advance(1)
    return [_cost(model, base), *found]


def _with_size(model: keras.Model, side: int) -> keras.Model:
    """The network, for images of this side if it takes those of any."""
    shape = model.inputs[0].shape[1:]
    if None not in shape:
        return model
    image = keras.Input([side if n is None else n for n in shape], dtype=model.inputs[0].dtype)
    sized = rebuild(model, inputs=image)
    for layer in model.layers:
        if layer.weights:
            set_weights(sized.get_layer(layer.name), layer.get_weights())
    return sized


def _in_float32(model: keras.Model) -> bool:
    """Whether all layers compute in full precision."""
    return all(layer.compute_dtype in ("float32", "float64") for layer in model.layers)


def _cost(model: keras.Model, milliseconds: float) -> Cost:
    try:
        operations = complexity(model).multiply_adds
    except InputError:  # a layer is called several times
        operations = None
    return Cost(model.count_params(), operations, milliseconds)


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
    switched: SwitchedNetwork,
    gates: Gates,
    source: Source,
    preprocessing: Preprocessing,
) -> float:
    """Largest difference of a probability between a folded network and one with constant gates."""
    few = _at_most(source, 16)
    classes = switched.model.output.shape[-1]
    (batch,) = batches(few, preprocessing, classes, 16, label="comparing")
    switched.hold(gates)
    ours, theirs = (m.predict_on_batch(batch.images) for m in (folded, switched.model))
    return float(np.abs(ours.astype("float64") - theirs).max())
