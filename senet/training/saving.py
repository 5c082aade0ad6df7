"""Checkpoints of a run: its state, and every variable of network, optimizer and average."""

import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from senet.errors import InputError
from senet.runs import checkpoint
from senet.runs.checkpoint import Checkpoint
from senet.training.parts import Run
from senet.training.step import copy_value

MODEL_PART, OPTIMIZER_PART, AVERAGE_PART = "model", "optimizer", "average"
"""What names of arrays begin with; other names would make older checkpoints unreadable."""


def save_checkpoint(run: Run) -> None:
    """Write down where a run stands.

    Every process holds all variables, so that the one that leads can write them alone, at a time
    of its own.

    Raises:
        Diverged: a weight is no finite number; nothing is written.
    """
    require_finite_weights(run)
    arrays = {name: copy_value(variable) for name, variable in name_variables(run)}
    if run.team.leads:
        checkpoint.write(run.folder, Checkpoint(run.state.step, arrays, run.state.to_json()))
    run.state.saved = time.monotonic()


def require_finite_weights(run: Run) -> None:
    """Refuse to save a network that is lost.

    The loss does not always tell: on JAX a ReLU turns what is no number into 0.

    Raises:
        Diverged: a weight is no finite number.
    """
    if not all(np.isfinite(copy_value(v)).all() for v in run.network.model.variables):
        when, kept = f"After step {run.state.step}", "The checkpoint before it is kept."
        raise run.describe_divergence(when, "a weight", kept)


def restore_checkpoint(run: Run, found: Checkpoint) -> None:
    """Take over what a checkpoint holds.

    Raises:
        ValueError: it is of another network or optimizer.
    """
    places = dict(name_variables(run))
    here = {name: tuple(variable.shape) for name, variable in places.items()}
    there = {name: array.shape for name, array in found.arrays.items()}
    if wrong := sorted(dict(here.items() ^ there.items())):
        raise InputError(
            f"The checkpoint of step {found.step} is of another network or optimizer: it "
            f"differs in {len(wrong)} arrays, {wrong[0]} among them."
        )
    for name, variable in places.items():
        variable.assign(found.arrays[name])
    run.state.restore(found.state)


def name_variables(run: Run) -> Iterator[tuple[str, Any]]:
    """Every variable of a run with the name of its array.

    Names that Keras makes up, as of seed generators, differ from process to process: variables go
    by their order.
    """
    inner = run.optimizer.inner_optimizer
    listed = {id(variable) for variable in run.optimizer.variables}
    members = [v for v in vars(inner).values() if isinstance(v, keras.Variable)]
    parts = {
        MODEL_PART: run.network.model.variables,
        # Nadam keeps one that is not among its variables.
        OPTIMIZER_PART: [*run.optimizer.variables, *(v for v in members if id(v) not in listed)],
    }
    if run.average:
        parts[AVERAGE_PART] = run.average.model.variables
    for part, variables in parts.items():
        for i, variable in enumerate(variables):
            yield f"{part}/{i:04d}", variable
