"""From a recipe to an optimizer of Keras and a learning rate for every step."""

import inspect
import math
import re
from typing import Any

import keras

from senet.models.family import require
from senet.recipes.recipe import Recipe

NOT_BY_LAYER = ("ftrl", "schedulefreeadamw")
"""Optimizers whose next position does not follow from a step of the learning rate."""

NEVER = 2**30
"""Steps of finite gradients after which the guard would change its scale."""


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


def make_optimizer(recipe: Recipe, model: keras.Model) -> keras.optimizers.LossScaleOptimizer:
    """The optimizer of a recipe, behind a guard that skips what is no finite number.

    The guard is Keras' loss scaling: under `mixed_float16` it scales, otherwise its scale is 1. A
    step whose gradients are not finite changes no weight, and halves the scale.

    Args:
        recipe: name of the optimizer, momentum, weight decay, clipping, accumulation, layer-wise
            rates and precision.
        model: whose variables it is to change.

    Returns:
        An optimizer, built; norms and biases are left out of the weight decay.

    Raises:
        ValueError: Keras has no such optimizer.
    """
    known = optimizers()
    require("optimizer", recipe.optimizer.lower(), known)
    kind = known[recipe.optimizer.lower()]
    takes = inspect.signature(kind).parameters
    coupled = issubclass(kind, keras.optimizers.SGD)
    if recipe.layer_decay < 1 and recipe.optimizer.lower() in NOT_BY_LAYER:
        raise ValueError(
            f"layer_decay goes with optimizers whose step is in proportion to their learning rate; "
            f"that of {recipe.optimizer} is not. Leave it at 1, or choose another."
        )
    decay = 0.0 if coupled else recipe.weight_decay
    options: dict[str, Any] = dict(
        learning_rate=recipe.peak,
        weight_decay=decay or (None if takes["weight_decay"].default is None else 0.0),
        global_clipnorm=recipe.clip_norm or None,
        gradient_accumulation_steps=recipe.accumulate if recipe.accumulate > 1 else None,
    )
    if "adam_weight_decay" in takes:  # Muon's, for what it does not orthogonalise
        options |= dict(adam_weight_decay=decay)
    if coupled:
        options |= dict(momentum=recipe.momentum, nesterov=recipe.nesterov)
    factor = factors(model, recipe.layer_decay) if recipe.layer_decay < 1 else {}
    optimizer = _adapted(kind, recipe.weight_decay if coupled else 0.0, factor)(**options)
    if decay:
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    scaled = recipe.precision == "mixed_float16"
    guard = keras.optimizers.LossScaleOptimizer(
        optimizer,
        **{} if scaled else dict(initial_scale=1.0, dynamic_growth_steps=NEVER),
    )
    guard.build(model.trainable_variables)
    return guard


def factors(model: keras.Model, decay: float) -> dict[str, float]:
    """Factor of the learning rate of every variable, by its path.

    The classifier has 1, the last group `decay`, the one before `decay ** 2`, the stem the least.

    Example:
        >>> factors(model, 0.5)["stem_conv/kernel"]
        0.03125
    """
    groups = [int(m[1]) for v in model.variables if (m := re.match(r"stage(\d+)_", v.path))]
    last = max(groups, default=0)

    def distance(path: str) -> int:
        if match := re.match(r"stage(\d+)_", path):
            return last + 1 - int(match[1])
        return last + 1 if path.startswith("stem") else 0

    return {v.path: decay ** distance(v.path) for v in model.variables}


def _adapted(kind: Any, decay: float, factor: dict[str, float]) -> Any:
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
            slow = [v for v in variables if factor.get(v.path, 1) < 1]
            before = [keras.ops.copy(v) for v in slow]
            super().apply(grads, trainable_variables)
            for variable, start in zip(slow, before, strict=True):
                moved = keras.ops.convert_to_tensor(variable) - start
                variable.assign(start + factor[variable.path] * moved)

    Adapted.__name__ = kind.__name__
    return Adapted if decay or factor else kind


class Schedule:
    """The learning rate of every step.

    After a linear warm-up: `cosine` falls to 0 along half a period (Loshchilov and Hutter,
    arXiv 1608.03983, without restarts), `step` is multiplied by the decay factor at every
    milestone, `plateau` whenever the validation loss has not been better for some epochs,
    `constant` stays.

    Args:
        recipe: peak, schedule, warm-up, milestones, decay factor and patience.
        steps: of the whole run.

    Example:
        >>> Schedule(Recipe(schedule="constant", warmup=0.0), steps=100)(50)
        0.1
    """

    def __init__(self, recipe: Recipe, steps: int) -> None:
        self.recipe, self.steps = recipe, steps
        self.warmup = round(recipe.warmup * steps)
        self.drops = self.waited = 0
        self.best = math.inf

    def __call__(self, step: int) -> float:
        """Learning rate of a step, from 0."""
        recipe = self.recipe
        if step < self.warmup:
            return recipe.peak * (step + 1) / self.warmup
        if recipe.schedule == "cosine":
            done = (step - self.warmup) / max(1, self.steps - self.warmup)
            return recipe.peak * (1 + math.cos(math.pi * min(1, done))) / 2
        drops = self.drops
        if recipe.schedule == "step":
            drops = sum(step >= round(share * self.steps) for share in recipe.milestones)
        return recipe.peak * recipe.decay_factor**drops

    def epoch_over(self, validation_loss: float) -> None:
        """Take note of an epoch's validation loss; only `plateau` looks at it."""
        if self.recipe.schedule != "plateau":
            return
        if validation_loss < self.best:
            self.best, self.waited = validation_loss, 0
        else:
            self.waited += 1
        if self.waited >= self.recipe.patience:
            self.drops, self.waited = self.drops + 1, 0

    @property
    def state(self) -> dict[str, Any]:
        """What a resumed run has to know."""
        return dict(drops=self.drops, waited=self.waited, best=self.best)

    @state.setter
    def state(self, values: dict[str, Any]) -> None:
        self.drops, self.waited, self.best = values["drops"], values["waited"], values["best"]
