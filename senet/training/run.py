"""A training run from the top: what `train` and `resume` do, each step a call.

A recipe is read once, in `setup.py`, which makes the parts of a `Run` of it. `loop.py` trains them
epoch by epoch, `step.py` step by step; `state.py` counts, `saving.py` writes checkpoints and reads
them again; `finish.py` evaluates and reports. What the files of a run are is in `senet.runs`.
"""

import contextlib
import os
import pathlib
from typing import Any

from senet.data.sources import Data
from senet.errors import InputError
from senet.recipes.recipe import Recipe
from senet.recipes.resolving import fill_defaults, locate_paths
from senet.runs import checkpoint, record
from senet.runs.checkpoint import Checkpoint
from senet.runs.folder import (
    MODEL,
    forget_bad_images,
    forget_start,
    lock_folder,
    remove_half_written,
    require_new,
)
from senet.runs.results import read_finished
from senet.training import console, setup
from senet.training.distribution import Team, join_processes
from senet.training.finish import finish
from senet.training.inspection import look_for_damage
from senet.training.loop import fit
from senet.training.saving import restore_checkpoint


def train(recipe: Recipe, folder: str | os.PathLike, *, data: Data | None = None) -> dict[str, Any]:
    """Train a network and leave a run folder: model, configuration, metrics, plots, report.

    A checkpoint ends every epoch, and within epochs one is written every few minutes and when the
    run is told to stop (Ctrl-C, SIGTERM); `resume` goes on from it. The folder holds `model.keras`,
    the network of the last whole epoch, and `best.keras`, that of the best validation accuracy.

    Args:
        recipe: what to do.
        folder: of the run; new or empty.
        data: in place of what `recipe.data` names.

    Returns:
        The result, as written to standard output by `senet train`: scores on held-out images,
        where the files are, and the signal that interrupted the run, or `None`.

    Raises:
        FileExistsError: the folder holds something already, or another process trains in it.
        ModuleNotFoundError: event files are wanted, and the library that writes them is missing.
        MemoryError: a step, or the network, takes more memory than there is.
        ValueError: the data cannot be used; as `Diverged` loss, gradients or weights are no finite
            numbers; as `TooManyBadImages` more images are damaged than the recipe allows.
        WorkerDied: a process that reads images did.

    Example:
        >>> result = train(Recipe(epochs=2), "runs/quick")
        >>> result["epochs"], result["images"]
        (2, 359)
    """
    folder = pathlib.Path(folder)
    setup.require_usable(recipe)
    with join_processes() as team, contextlib.ExitStack() as held:
        if team.leads:
            require_new(folder)
        located = setup.name_network(locate_paths(recipe))
        data = data or setup.load_images(located)
        complete = fill_defaults(located, data)
        if team.leads:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(lock_folder(folder))
            require_new(folder)  # it may have become another process's since
            forget_start(folder)
        held.enter_context(setup.configure_keras(complete))
        network = setup.build_network(complete, data)
        setup.require_memory(complete, network, team)
        trained_on, faults = setup.inspect_images(complete, data, network)
        run = setup.make_run(complete, folder, data, network, trained_on, team)
        look_for_damage(run)
        if team.leads:  # the record is last: from here on the folder is a run's and can be resumed
            made = data, network.model, network.preprocessing, trained_on, faults
            record.write(folder, recipe, complete, *made)
        console.say_hello(run)
        console.say_warnings(faults)
        return finish(run, fit(run))


def resume(
    folder: str | os.PathLike, changes: dict[str, Any] | None = None, *, data: Data | None = None
) -> dict[str, Any]:
    """Go on with a run where its newest whole checkpoint was written.

    On a CPU, with the same versions and number of cores, the network becomes the same, bit for bit,
    as if the run had never stopped; where versions or machine are others standard error says so. On
    PyTorch that does not hold with dropout: Keras draws there from PyTorch's own generator, which
    no checkpoint holds. The folder may have been moved.

    Args:
        folder: of the run.
        changes: fields of the recipe to set otherwise. Only those that do not decide what is
            learnt may change (`workers`, `bad_images`, `on_nan`, `save_minutes`, `tensorboard`),
            `data` and `class_map`, where the same lie elsewhere now, and `epochs` to more of them,
            where the schedule is `constant` or `plateau`.
        data: in place of what the recipe names.

    Returns:
        The result, as `train` gives it; that of a finished run is given again.

    Raises:
        FileNotFoundError: the folder is no run folder.
        FileExistsError: another process trains in it.
        ValueError: recipe, data or network are not those that the run began with; the record of
            the run is damaged; or as for `train`.

    Example:
        >>> resume("runs/digits")["top1"] > 0.9
        True
    """
    folder = pathlib.Path(folder)
    began = record.read(folder)
    recipe = locate_paths(began.change_recipe(changes or {}))
    setup.require_usable(recipe)
    with join_processes() as team, contextlib.ExitStack() as held:
        if team.leads:
            held.enter_context(lock_folder(folder))
            remove_half_written(folder)
        found = _find_checkpoint(folder, team)
        if result := read_finished(began, found, recipe):
            console.say_finished(folder)
            return result
        data = data or setup.load_images(recipe)
        began.check_data(data, recipe)
        console.say_machine_changes(began.list_machine_changes())
        held.enter_context(setup.configure_keras(recipe))
        if found is None:
            network = setup.build_network(recipe, data)
        else:  # its weights come from the checkpoint: nothing is downloaded or read for the start
            network = setup.rebuild_network(recipe, data, began, found.arrays)
        trained_on = began.trained_on or setup.inspect_images(recipe, data, network)[0]
        run = setup.make_run(recipe, folder, data, network, trained_on, team)
        if found is not None:
            restore_checkpoint(run, found)
        else:
            if team.leads:
                forget_bad_images(folder)
            look_for_damage(run)
        if team.leads:  # nothing can be refused any more
            began.note_changes(recipe)
            if found is not None and run.state.epoch < run.plan.epochs:
                began.note_resumption(found.step, found.step / run.state.steps_per_epoch)
        console.say_going_on(found.step if found else None)
        return finish(run, fit(run))


def _find_checkpoint(folder: pathlib.Path, team: Team) -> Checkpoint | None:
    """The newest whole checkpoint of a run; `None` where it has none yet.

    The process that leads looks first and puts damaged ones aside, so that all of them find the
    same one.

    Raises:
        ValueError: there are checkpoints, and all of them are damaged.
    """
    if not team.leads:
        team.wait()
    found, damaged = checkpoint.read_newest(folder)
    if team.leads:
        team.wait()
    console.say_damaged(damaged)
    if damaged and found is None:
        raise InputError(
            f"No checkpoint in {str(folder)!r} is whole: there is nothing to go on from. "
            f"The network of the last whole epoch is {MODEL}. Begin another run, perhaps with "
            f"--weights {folder / MODEL}."
        )
    return found
