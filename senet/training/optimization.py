"""The optimizer of a run, and its learning rate for every step."""

import dataclasses
import inspect
import math
import re
from typing import Any

import keras

from senet.errors import InputError
from senet.models.family import require

NOT_BY_LAYER = ("ftrl", "schedulefreeadamw")
"""Optimizers whose next position does not follow from a step of the learning rate."""

NEVER = 2**30
"""Steps of finite gradients after which the guard would change its scale: more than any run has."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """What decides how the weights are updated.

    Args:
        name: of an optimizer of Keras, in any case.
        learning_rate: at the peak.
        momentum: of SGD.
        nesterov: whether the momentum of SGD is Nesterov's.
        weight_decay: of kernels.
        clip_norm: largest norm of all gradients together; 0 is none.
        accumulate: steps whose gradients make one update.
        layer_decay: factor of the learning rate for each group away from the classifier.
        loss_scaling: whether the loss is scaled, as float16 needs it.
    """

    name: str
    learning_rate: float
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    accumulate: int = 1
    layer_decay: float = 1.0
    loss_scaling: bool = False


def optimizers() -> dict[str, type[keras.optimizers.Optimizer]]:
    """The optimizers of Keras by name, in lower case."""
    return {
        name.lower(): kind
        for name, kind in vars(keras.optimizers).items()
        if inspect.isclass(kind)
        and issubclass(kind, keras.optimizers.Optimizer)
        and kind is not keras.optimizers.Optimizer
        and "weight_decay" in inspect.signature(kind).parameters  # wrappers of others have none
    }


def make_optimizer(
    settings: OptimizerSettings, model: keras.Model
) -> keras.optimizers.LossScaleOptimizer:
    """An optimizer behind a guard that skips what is no finite number.

    The guard is Keras' loss scaling: where the loss needs none its scale is 1. A step whose
    gradients are not finite changes no weight, and halves the scale.

    Args:
        settings: of the optimizer.
        model: whose variables it is to change.

    Returns:
        An optimizer, built; norms and biases are left out of the weight decay.

    Raises:
        ValueError: Keras has no such optimizer, or layer-wise rates do not fit it.
    """
    name, known = settings.name.lower(), optimizers()
    require("optimizer", name, known)
    kind = known[name]
    if settings.layer_decay < 1 and name in NOT_BY_LAYER:
        raise InputError(
            f"layer_decay goes with optimizers whose step is in proportion to their learning rate; "
            f"that of {settings.name} is not. Leave it at 1, or choose another."
        )
    coupled = issubclass(kind, keras.optimizers.SGD)
    coupled_decay = settings.weight_decay if coupled else 0.0
    decoupled_decay = 0.0 if coupled else settings.weight_decay
    factors = rate_factors(model, settings.layer_decay) if settings.layer_decay < 1 else {}
    options = _choose_options(kind, settings, decoupled_decay)
    optimizer = _adapt_optimizer(kind, coupled_decay, factors)(**options)
    if decoupled_decay:
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    fixed_scale = dict(initial_scale=1.0, dynamic_growth_steps=NEVER)
    guard = keras.optimizers.LossScaleOptimizer(
        optimizer, **{} if settings.loss_scaling else fixed_scale
    )
    guard.build(model.trainable_variables)
    return guard


def _choose_options(kind: Any, settings: OptimizerSettings, decay: float) -> dict[str, Any]:
    """The arguments with which an optimizer of Keras is made; it decays weights by itself."""
    takes = inspect.signature(kind).parameters
    options: dict[str, Any] = dict(
        learning_rate=settings.learning_rate,
        # None switches it off for some optimizers, for others it is no value at all
        weight_decay=decay or (None if takes["weight_decay"].default is None else 0.0),
        global_clipnorm=settings.clip_norm or None,
        gradient_accumulation_steps=settings.accumulate if settings.accumulate > 1 else None,
    )
    if "adam_weight_decay" in takes:  # Muon's, for what it does not orthogonalise
        options |= dict(adam_weight_decay=decay)
    if issubclass(kind, keras.optimizers.SGD):
        options |= dict(momentum=settings.momentum, nesterov=settings.nesterov)
    return options


def rate_factors(model: keras.Model, decay: float) -> dict[str, float]:
    """Factor of the learning rate of every variable, by its path.

    The classifier has 1, the last group `decay`, the one before `decay ** 2`, the stem the least.

    Example:
        >>> model = senet.create("se_resnet50")
        >>> rate_factors(model, 0.5)["stem_conv/kernel"]
        0.03125
    """
    groups = {v.path: _read_group(v.path) for v in model.variables}
    last = max((group for group in groups.values() if group is not None), default=0)
    return {
        path: decay ** (0 if group is None else last + 1 - group) for path, group in groups.items()
    }


def _read_group(path: str) -> int | None:
    """Number of the group of a variable; that of the stem is 0, the classifier is in none."""
    if match := re.match(r"stage(\d+)_", path):
        return int(match[1])
    return 0 if path.startswith("stem") else None


def _adapt_optimizer(kind: Any, decay: float, factors: dict[str, float]) -> Any:
    """An optimizer with the weight decay of SGD as its users know it, and layer-wise rates.

    The decay is the gradient of `decay / 2 * sum(kernel ** 2)`, so that it goes through the
    momentum, as in Caffe and PyTorch; Keras would take `learning_rate * decay` of the weights away
    beside it, a tenth of that at a momentum of 0.9. A variable with a factor goes only that part of
    each step, as a smaller learning rate would.
    """

    class Adapted(kind):
        def apply(self, grads, trainable_variables=None):
            variables = trainable_variables or self._trainable_variables
            if decay:
                grads = [
                    g if g is None or v.name != "kernel" else g + decay * keras.ops.cast(v, g.dtype)
                    for g, v in zip(grads, variables, strict=True)
                ]
            # Taking a part of the finished step back is a smaller learning rate for any optimizer
            # whose step is in proportion to it, whatever it keeps of the gradient.
            slow = [v for v in variables if factors.get(v.path, 1) < 1]
            before = [keras.ops.copy(v) for v in slow]
            super().apply(grads, trainable_variables)
            for variable, start in zip(slow, before, strict=True):
                moved = keras.ops.convert_to_tensor(variable) - start
                variable.assign(start + factors[variable.path] * moved)

    Adapted.__name__ = kind.__name__  # Keras makes names of variables of it
    return Adapted if decay or factors else kind


@dataclasses.dataclass
class Plateau:
    """How long the validation loss has not been better; a part of a run's state.

    Args:
        drops: how often the learning rate was lowered for it.
        waited: epochs since the best one, or since the last drop.
        best: smallest validation loss so far.
    """

    drops: int = 0
    waited: int = 0
    best: float = math.inf


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """The learning rate of every step.

    After a linear warm-up: `cosine` falls to 0 along half a period (Loshchilov and Hutter,
    arXiv 1608.03983, without restarts), `step` is multiplied by the decay factor at every
    milestone, `plateau` whenever the validation loss has not been better for some epochs,
    `constant` stays.

    Args:
        kind: `"cosine"`, `"step"`, `"plateau"` or `"constant"`.
        peak: learning rate after the warm-up.
        steps: of the whole run.
        warmup: share of the steps in which the rate rises from zero, 0 to 1.
        milestones: shares of the run after which `step` drops, 0 to 1.
        decay_factor: by which `step` and `plateau` multiply.
        patience: epochs without a better validation loss after which `plateau` drops.

    Example:
        >>> Schedule(kind="constant", peak=0.1, steps=100)(50)
        0.1
    """

    kind: str
    peak: float
    steps: int
    warmup: float = 0.0
    milestones: tuple[float, ...] = ()
    decay_factor: float = 0.1
    patience: int = 5

    def __call__(self, step: int, drops: int = 0) -> float:
        """Learning rate of a step.

        Args:
            step: its number, from 0.
            drops: of `plateau` so far.
        """
        warmup = round(self.warmup * self.steps)
        if step < warmup:
            return self.peak * (step + 1) / warmup
        if self.kind == "cosine":
            done = (step - warmup) / max(1, self.steps - warmup)
            return self.peak * (1 + math.cos(math.pi * min(1, done))) / 2
        if self.kind == "step":
            drops = sum(step >= round(share * self.steps) for share in self.milestones)
        return self.peak * self.decay_factor**drops

    def note_loss(self, plateau: Plateau, validation_loss: float) -> None:
        """Take note of an epoch's validation loss; only `plateau` looks at it."""
        if self.kind != "plateau":
            return
        if validation_loss < plateau.best:
            plateau.best, plateau.waited = validation_loss, 0
        else:
            plateau.waited += 1
        if plateau.waited >= self.patience:
            plateau.drops, plateau.waited = plateau.drops + 1, 0
