"""The training loop: from a recipe to a run folder that can be used, and on again after a stop."""

import contextlib
import dataclasses
import fnmatch
import math
import os
import pathlib
import signal
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from senet import applications
from senet.acceleration import accelerate
from senet.data.augment import Augmentation, Mixing
from senet.data.damage import BadImages
from senet.data.pipeline import Batch, WorkerDied, training_batches
from senet.data.preprocessing import Preprocessing
from senet.data.sources import Data, load_data
from senet.evaluation import Evaluation, evaluation_of, predictions
from senet.models.spec import Spec
from senet.progress import clock, meter
from senet.recipes.recipe import Recipe
from senet.recipes.resolving import fill_in, locate_paths
from senet.runs import checkpoint, events, pictures, record, report
from senet.runs.checkpoint import Checkpoint
from senet.runs.events import Events
from senet.runs.folder import (
    BAD_IMAGES,
    BEST,
    EVENTS,
    MODEL,
    lock_folder,
    remove_half_written,
    require_new,
)
from senet.runs.reading import read_record
from senet.runs.results import read_finished, write_metrics, write_result
from senet.training.averaging import Average
from senet.training.distribution import Team, alone, joined
from senet.training.interruption import Interruption, Stopped
from senet.training.optimization import Schedule, make_optimizer

MOST_SKIPPED = 20
"""Steps in a row that may be skipped because they are no finite numbers."""

PROBE = 2.0
"""Seconds for which the speed of the loader alone is measured."""


class Diverged(ValueError):
    """The loss, a gradient or a weight stopped being a finite number."""


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
        ValueError: the data cannot be used, or the loss became infinite.

    Example:
        >>> result = train(Recipe(epochs=10), "runs/digits")
        >>> result["top1"] > 0.9
        True
    """
    folder = pathlib.Path(folder)
    _check_settings(recipe)
    with joined() as team, contextlib.ExitStack() as held:
        if team.leads:
            require_new(folder)
        command = recipe.command(str(folder))
        asked = recipe = locate_paths(recipe)
        data = data or _data(recipe)
        recipe = fill_in(recipe, data)
        if team.leads:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(lock_folder(folder))
        held.enter_context(applications.keras_settings(recipe.precision))
        keras.utils.set_random_seed(recipe.seed)
        model, preprocessing = _network(recipe, data)
        run = Run(recipe, folder, data, model, preprocessing, team)
        if team.leads:
            record.write(folder, command, asked, recipe, data, model, preprocessing)
        run.say_hello()
        return run.finish(run.fit())


def resume(
    folder: str | os.PathLike, changes: dict[str, Any] | None = None, *, data: Data | None = None
) -> dict[str, Any]:
    """Go on with a run where its newest whole checkpoint was written.

    On a CPU, with the same versions and number of cores, the network becomes the same, bit for bit,
    as if the run had never stopped; where that cannot be promised standard error says why. The
    folder may have been moved.

    Args:
        folder: of the run.
        changes: fields of the recipe to set otherwise. Only those that do not decide what is
            learnt may change (`workers`, `bad_images`, `on_nan`, `save_minutes`, `tensorboard`),
            and `data`, where the same images lie elsewhere now.
        data: in place of what the recipe names.

    Returns:
        The result, as `train` gives it; that of a finished run is given again.

    Raises:
        FileNotFoundError: the folder is no run folder.
        FileExistsError: another process trains in it.
        ValueError: recipe, data or network are not those that the run began with; or the record of
            the run is damaged.

    Example:
        >>> resume("runs/digits")["top1"] > 0.9
        True
    """
    folder = pathlib.Path(folder)
    started = record.read(folder)
    recipe = locate_paths(started.change_recipe(changes or {}))
    _check_settings(recipe)
    with joined() as team, contextlib.ExitStack() as held:
        if team.leads:
            held.enter_context(lock_folder(folder))
            remove_half_written(folder)
            found, damaged = checkpoint.newest(folder)
            team.wait()
        else:  # the first has put damaged ones aside
            team.wait()
            found, damaged = checkpoint.newest(folder)
        held.enter_context(applications.keras_settings(recipe.precision))
        for line in damaged:
            print(f"senet: {line}", file=sys.stderr)
        if damaged and found is None:
            raise ValueError(
                f"No checkpoint in {str(folder)!r} is whole: there is nothing to go on from. "
                f"The network of the last whole epoch is {MODEL}. Begin another run, perhaps with "
                f"--weights {folder / MODEL}."
            )
        epochs_left = found is None or found.record["epoch"] < recipe.epochs
        if not epochs_left and (result := read_finished(folder, recipe.epochs)):
            print(f"senet: the run in {str(folder)!r} is finished", file=sys.stderr)
            return result
        data = data or _data(recipe)
        started.check_data(data, recipe.data)
        started.warn_of_rounding()
        if team.leads:
            started.note_place_of_data(recipe)
        keras.utils.set_random_seed(recipe.seed)
        if found is None:
            model, preprocessing = _network(recipe, data)
        else:
            model, preprocessing = (
                _rebuilt(Spec.from_json(started.spec), recipe, data),
                started.preprocessing,
            )
        run = Run(recipe, folder, data, model, preprocessing, team)
        if found is not None:
            run.restore(found)
        where = f"step {run.step}" if found else "the start, for it has no checkpoint yet"
        print(f"senet: going on from {where}", file=sys.stderr)
        return run.finish(run.fit())


class Run:
    """One training run in progress; `train` and `resume` are its users.

    Args:
        recipe: what to do, complete.
        folder: of the run.
        data: to train on.
        model: to train.
        preprocessing: makes inputs of images.
        team: the processes that share the work; all of them do all of this, but files are written
            by the first only.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: pathlib.Path,
        data: Data,
        model: keras.Model,
        preprocessing: Preprocessing,
        team: Team = Team(),  # noqa: B008  frozen
    ) -> None:
        self.team = team
        self.recipe, self.folder, self.data = recipe, folder, data
        self.model, self.preprocessing = model, preprocessing
        self.augmentation = Augmentation(
            recipe.crop or "centre",
            recipe.flip or 0.0,
            recipe.jitter or 0.0,
            recipe.area,
            recipe.random_augment,
            recipe.erase,
        )
        self.source = data.split("train")
        self.batch_size = recipe.batch_size
        self.steps = len(self.source) // self.batch_size
        if self.batch_size % team.devices:
            raise ValueError(
                f"Batches of {self.batch_size} images cannot be shared by {team.devices} devices: "
                f"choose --batch-size {-(-self.batch_size // team.devices) * team.devices}."
            )
        if self.steps * recipe.epochs < recipe.accumulate:
            raise ValueError(
                f"The run has {self.steps * recipe.epochs} steps and accumulate gathers "
                f"{recipe.accumulate} of them for one update: there would be none."
            )
        self.bad_images = BadImages(
            self.source,
            recipe.bad_images,
            folder / BAD_IMAGES if team.leads else None,
            class_names=data.class_names,
        )
        self.schedule = Schedule(recipe, self.steps * recipe.epochs)
        # What a step changes beside the weights: running statistics, random states.
        self.fixed = [v for v in model.variables if not v.trainable]
        _freeze(model, recipe.freeze)
        self.average = Average(model, recipe.ema) if recipe.ema else None
        self.twin = accelerate(model)
        self.optimizer = make_optimizer(recipe, model)
        if recipe.precision != "mixed_float16":  # whose scale must change
            self.fixed += [self.optimizer.dynamic_scale, self.optimizer.step_counter]
        self.twin.compile(
            self.optimizer,
            keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
            metrics=["accuracy"],
            # XLA's convolutions on a CPU are slower than TensorFlow's own; JAX has no others.
            jit_compile="auto" if keras.backend.backend() == "jax" else False,
        )
        self.weights = _class_weights(data) if recipe.class_weights else None
        self.history: list[dict[str, Any]] = []
        self.epoch = self.position = self.skipped = 0
        self.losses: list[float] = []
        self.accuracies: list[float] = []
        self.seconds = 0.0
        self.began: float | None = None
        self.best = -1.0
        self.saved = time.monotonic()
        self.copy: keras.Model | None = None

    @property
    def step(self) -> int:
        """Steps taken so far."""
        return self.epoch * self.steps + self.position

    @property
    def result_model(self) -> keras.Model:
        """What is evaluated and saved: the network, or the average of its weights."""
        return self.average.model if self.average else self.model

    def fit(self) -> str | None:
        """Train what is left; the name of the signal that ended it, or `None`."""
        try:
            with Interruption() as interruption, self._events() as written:
                if written:
                    for row in self.history:
                        written.scalars(row["epoch"], row)
                while self.epoch < self.recipe.epochs:
                    self._agree(interruption)
                    self.began = time.monotonic()
                    rate, waiting = self._epoch(interruption)
                    row = self._row(rate, waiting) | self._validate()
                    row["seconds"] = round(time.monotonic() - self.began, 2)
                    self.seconds, self.began = self._seconds(), None
                    with interruption.writing():
                        self._end_epoch(row)
                    if written:
                        written.scalars(self.epoch, row)
                    self._say_epoch()
                self._agree(interruption)
        except Stopped as stopped:
            self.save()
            print(
                f"senet: {stopped} after step {self.step}; to go on: "
                f"senet train --resume {self.folder}",
                file=sys.stderr,
            )
            return str(stopped)
        except WorkerDied:
            self.save()
            raise
        return None

    def _events(self) -> contextlib.AbstractContextManager[Events | None]:
        """Event files for TensorBoard, if the recipe asks for them."""
        if not (self.recipe.tensorboard and self.team.leads):
            return contextlib.nullcontext()
        return Events(self.folder / EVENTS, first_step=1 if self.history else None)

    def finish(self, interrupted: str | None) -> dict[str, Any]:
        """Evaluate the saved model on held-out images, write plots and report.

        A run that was told to stop by another program, or before its first epoch was over, is not
        evaluated.
        """
        result: dict[str, Any] = dict(
            run=str(self.folder),
            model=self.recipe.model,
            data=self.recipe.data,
            epochs=len(self.history),
            seconds=round(self.seconds, 1),
            interrupted=interrupted,
        )
        if not self.history or interrupted == signal.SIGTERM.name:
            return result
        with alone():
            model = applications.load(self.folder / MODEL) if self.team.leads else self._own()
        split = self.data.held_out
        evaluation = self._evaluate(model, split, f"evaluating on {split}")
        result |= dict(split=split, **evaluation.summary(), bad_images=self.bad_images.counts())
        if not self.team.leads:
            return result
        shown = self.data.split(split), self.preprocessing
        pictures.draw_pictures(self.folder, self.history, evaluation, split, *shown)
        with contextlib.closing(self._batches(0, 0)) as batches:
            pictures.draw_samples(
                self.folder, next(batches), self.preprocessing, self.data.class_names
            )
        report.write(
            self.folder,
            result,
            read_record(self.folder),
            self.history,
            evaluation,
            self.data.split(split),
            self.preprocessing,
            skipped=evaluation.skipped,
        )
        write_result(self.folder, result)
        return result

    def save(self) -> None:
        """Write a checkpoint of where the run stands, if its weights are finite numbers."""
        arrays = self._arrays()
        if not all(np.isfinite(a).all() for name, a in arrays.items() if name.startswith("model")):
            raise self._diverged("a weight", "The checkpoint before it is kept.")
        about = dict(
            epoch=self.epoch,
            position=self.position,
            losses=self.losses,
            accuracies=self.accuracies,
            history=self.history,
            best=self.best,
            seconds=self._seconds(),
            skipped=self.skipped,
            schedule=self.schedule.state,
            bad_images=list(self.bad_images.indices),
        )
        if self.team.leads:
            checkpoint.write(self.folder, Checkpoint(self.step, arrays, about))
        self.saved = time.monotonic()

    def _seconds(self) -> float:
        """Seconds of training and validation so far, those of the present epoch too."""
        return self.seconds + (time.monotonic() - self.began if self.began else 0)

    def restore(self, found: Checkpoint) -> None:
        """Take over what a checkpoint holds.

        Raises:
            ValueError: it is of another network or optimizer.
        """
        places = dict(self._variables())
        here = {name: tuple(variable.shape) for name, variable in places.items()}
        there = {name: array.shape for name, array in found.arrays.items()}
        if wrong := sorted(dict(here.items() ^ there.items())):
            raise ValueError(
                f"The checkpoint of step {found.step} is of another network or optimizer: it "
                f"differs in {len(wrong)} arrays, {wrong[0]} among them."
            )
        for name, variable in places.items():
            variable.assign(found.arrays[name])
        about = found.record
        self.schedule.state = about["schedule"]
        self.epoch, self.position = about["epoch"], about["position"]
        self.losses, self.accuracies = about["losses"], about["accuracies"]
        self.history, self.best = about["history"], about["best"]
        self.seconds, self.skipped = about["seconds"], about["skipped"]
        self.bad_images.add(about["bad_images"])

    def _variables(self) -> Iterator[tuple[str, Any]]:
        """Every variable of the run with the name of its array.

        Names that Keras makes up, as of seed generators, differ from process to process: variables
        go by their order.
        """
        inner = self.optimizer.inner_optimizer
        kept = {id(variable) for variable in self.optimizer.variables}
        more = [v for v in vars(inner).values() if isinstance(v, keras.Variable)]
        parts = dict(
            model=self.model.variables,
            # Nadam keeps one beside those that it names.
            optimizer=[*self.optimizer.variables, *(v for v in more if id(v) not in kept)],
        )
        if self.average:
            parts["average"] = self.average.model.variables
        for part, variables in parts.items():
            for i, variable in enumerate(variables):
                yield f"{part}/{i:04d}", variable

    def _arrays(self) -> dict[str, np.ndarray]:
        return {name: _copy(variable) for name, variable in self._variables()}

    def _epoch(self, interruption: Interruption) -> tuple[float, float]:
        """Train what is left of an epoch; images per second, and share of the time spent waiting.

        The time of a batch goes from the moment it is asked for to the end of its step.
        """
        images, before = self.steps * self.batch_size, self.position * self.batch_size
        waited = 0.0
        with (
            contextlib.closing(self._batches(self.epoch, self.position)) as batches,
            meter(f"epoch {self.epoch + 1}/{self.recipe.epochs}", images, done=before) as progress,
        ):
            began = asked = time.monotonic()
            for batch in batches:
                waited += time.monotonic() - asked
                self._agree(interruption, batch.bad)
                self._step(batch)
                progress.advance(self.batch_size, self._so_far())
                due = time.monotonic() - self.saved > 60 * self.recipe.save_minutes
                if due and self.team.leads:
                    with interruption.writing():
                        self.save()
                asked = time.monotonic()
            return progress.rate, waited / max(1e-9, time.monotonic() - began)

    def _agree(self, interruption: Interruption, bad: Sequence[int] | np.ndarray = ()) -> None:
        """Do what all processes do next: stop if one was asked to, count all damaged images.

        Raises:
            Stopped: one was asked to stop.
            TooManyBadImages: the recipe says that the run ends here.
        """
        if self.team.size == 1:
            interruption.check()
            self.bad_images.add(bad)
            return
        stop, damaged = self.team.most(interruption.requested or 0, len(bad))
        if stop:
            raise Stopped(stop)
        if damaged:
            self.bad_images.add(self.team.union(bad))

    def _batches(self, epoch: int, first: int) -> Generator[Batch, None, None]:
        recipe = self.recipe
        return training_batches(
            self.source,
            self.preprocessing,
            self.augmentation,
            batch_size=self.batch_size,
            seed=recipe.seed,
            epoch=epoch,
            first=first,
            workers=recipe.workers,
            mixing=Mixing(recipe.mixup, recipe.cutmix) or None,
            part=self.team.part,
            n_classes=len(self.data.class_names),
        )

    def _step(self, batch: Batch) -> None:
        """One step; one that is no finite number leaves nothing behind."""
        rate, before = _copy(self.optimizer.learning_rate), [_copy(v) for v in self.fixed]
        scale, updates = self._scale(), self._updates()
        self.optimizer.learning_rate = self.schedule(self.step)
        self.twin.reset_metrics()  # so that they are of this batch, in every Keras
        logs = self.twin.train_on_batch(
            batch.images,
            batch.targets,
            sample_weight=None if self.weights is None else batch.targets @ self.weights,
            return_dict=True,
        )
        loss, accuracy = float(logs["loss"]), float(logs["accuracy"])
        shrunk = self._scale() < scale and self.recipe.precision != "mixed_float16"
        if shrunk or not math.isfinite(loss):
            for variable, value in zip(self.fixed, before, strict=True):
                variable.assign(value)
            self.optimizer.learning_rate = rate
            self._no_number(batch, "the loss" if not math.isfinite(loss) else "a gradient")
        else:
            self.skipped = 0
            self.losses.append(loss)
            self.accuracies.append(accuracy)
            if self.average and self._updates() > updates:
                self.average.update(updates)
        self.position += 1

    def _no_number(self, batch: Batch, what: str) -> None:
        """Stop at a step that is no finite number, or note that it was passed over."""
        self.skipped += 1
        if self.recipe.on_nan == "skip" and self.skipped <= MOST_SKIPPED:
            print(f"\nsenet: skipped step {self.step + 1}: {what} is no number", file=sys.stderr)
            return
        self.save()
        names = ", ".join(str(self.source.names[i]) for i in batch.indices[:3])
        raise self._diverged(
            what,
            f"Its update was not kept, and the state before it is saved: senet train --resume "
            f"{self.folder} --on-nan skip passes over it. The images of the step: {names}, ...",
        )

    def _diverged(self, what: str, kept: str) -> Diverged:
        return Diverged(
            f"In step {self.step + 1} (epoch {self.epoch + 1}) {what} is infinite or no number. "
            f"{kept} Try a lower learning rate than {self.recipe.peak:g}, a longer warm-up or "
            "--clip-norm 1."
        )

    def _updates(self) -> int:
        """Updates of the weights so far."""
        steps = int(keras.ops.convert_to_numpy(self.optimizer.iterations))
        return steps // self.recipe.accumulate

    def _scale(self) -> float:
        return float(keras.ops.convert_to_numpy(self.optimizer.dynamic_scale))

    def _so_far(self) -> str:
        if not self.losses:
            return ""
        loss, accuracy = np.mean(self.losses), np.mean(self.accuracies)
        return f"loss {loss:.3f}, accuracy {accuracy:.1%}"

    def _row(self, rate: float, waiting: float) -> dict[str, Any]:
        if not self.losses:
            raise self._diverged("every loss of the epoch", "")
        return dict(
            epoch=self.epoch + 1,
            learning_rate=self.schedule(self.step - 1),
            loss=float(np.mean(self.losses)),
            accuracy=float(np.mean(self.accuracies)),
            images_per_second=round(rate, 1),
            waiting=round(waiting, 4),
        )

    def _validate(self) -> dict[str, float]:
        evaluation = self._evaluate(self._own(), "validation", "validating")
        self.schedule.epoch_over(evaluation.loss)
        return dict(
            val_loss=evaluation.loss, val_accuracy=evaluation.top1, val_top5=evaluation.top(5)
        )

    def _own(self) -> keras.Model:
        """What is evaluated, on a device of this process where the run has more than that."""
        if self.team.devices == 1:
            return self.result_model
        with alone():
            if self.copy is None:
                self.copy = _rebuilt(self.model.card.spec, self.recipe, self.data)
            for variable, value in zip(
                self.copy.variables, self.result_model.variables, strict=True
            ):
                variable.assign(_copy(value))
        return self.copy

    def _evaluate(self, model: keras.Model, split: str, label: str) -> Evaluation:
        """Every image of a split once, each process its share of them."""
        source, team, names = self.data.split(split), self.team, self.data.class_names
        if not len(source):
            raise ValueError(f"There are no {split} images to evaluate on.")
        part = (
            source.take(np.arange(team.rank, len(source), team.size)) if team.size > 1 else source
        )
        with alone():
            read, scores = predictions(
                model,
                part,
                self.preprocessing,
                len(names),
                self.batch_size,
                self.recipe.workers,
                label,
            )
        if team.size > 1:
            missing = -(-len(source) // team.size) - len(part)
            read, scores = np.pad(read, (0, missing)), np.pad(scores, ((0, missing), (0, 0)))
            read = team.gather(read).T.reshape(-1)[: len(source)]
            scores = team.gather(scores).swapaxes(0, 1).reshape(-1, len(names))[: len(source)]
        return evaluation_of(source, names, read, scores)

    def _end_epoch(self, row: dict[str, Any]) -> None:
        """Files of the epoch first and the checkpoint last: a kill between them repeats it."""
        self.history.append(row)
        self.epoch, self.position, self.losses, self.accuracies = self.epoch + 1, 0, [], []
        if not all(np.isfinite(array).all() for array in self.model.get_weights()):
            # On JAX a ReLU turns what is no number into 0, and the loss stays finite.
            raise self._diverged("a weight", "The checkpoint before it is kept.")
        if self.team.leads:
            self._save_model(MODEL)
        if row["val_accuracy"] > self.best:
            self.best = row["val_accuracy"]
            if self.team.leads:
                self._save_model(BEST)
        if self.team.leads:
            write_metrics(self.folder, self.history)
        self.save()

    def _save_model(self, name: str) -> None:
        model = self.result_model
        model.card = self.model.card
        applications.save(
            model,
            self.folder / name,
            class_names=self.data.class_names,
            preprocessing=self.preprocessing.to_json(),
        )

    def say_hello(self) -> None:
        """Say what is trained on what, and how fast images come."""
        recipe = self.recipe
        counts = ", ".join(f"{len(s)} {name}" for name, s in self.data.splits.items())
        parameters = sum(math.prod(v.shape) for v in self.model.trainable_variables)
        print(
            f"{recipe.model}, {parameters:,} parameters to train, {recipe.size} px, on "
            f"{recipe.data}: {len(self.data.class_names)} classes; {counts} images",
            file=sys.stderr,
        )
        if recipe.peak != recipe.learning_rate:
            print(
                f"learning rate {recipe.learning_rate:g} x {recipe.batch_size} x "
                f"{recipe.accumulate} / {recipe.reference_batch} = {recipe.peak:g}",
                file=sys.stderr,
            )
        if self.steps > 1:
            print(f"the loader alone gives {self._loader_rate():.0f} images/s", file=sys.stderr)

    def _loader_rate(self) -> float:
        """Images per second when nothing else is done."""
        with contextlib.closing(self._batches(self.epoch, 0)) as batches:
            next(batches)
            images, began = 0, time.monotonic()
            for batch in batches:
                images += len(batch.images)
                if time.monotonic() - began > PROBE:
                    break
            return images / max(1e-9, time.monotonic() - began)

    def _say_epoch(self) -> None:
        row, total = self.history[-1], self.recipe.epochs
        left = self.seconds / len(self.history) * (total - len(self.history))
        slow = f" ({row['waiting']:.0%} waiting for images)" if row["waiting"] > 0.1 else ""
        print(
            f"epoch {row['epoch']}/{total}: loss {row['loss']:.3f}, accuracy {row['accuracy']:.1%}"
            f" | validation loss {row['val_loss']:.3f}, accuracy {row['val_accuracy']:.1%}"
            f" | {row['images_per_second']:.0f} images/s{slow}, {clock(left)} left",
            file=sys.stderr,
            flush=True,
        )


def _copy(variable: Any) -> np.ndarray:
    """The value of a variable, in memory of its own."""
    return np.array(keras.ops.convert_to_numpy(variable))


def _data(recipe: Recipe) -> Data:
    return load_data(
        recipe.data,
        recipe.seed,
        validation=recipe.validation,
        test=recipe.test,
        fraction=recipe.fraction,
        class_map=recipe.class_map,
    )


def _network(recipe: Recipe, data: Data) -> tuple[keras.Model, Preprocessing]:
    """The network at its start, and how its images are prepared."""
    size = recipe.size or recipe.built_spec().input_size
    model = applications.create(
        recipe.model,
        weights=recipe.weights,
        classes=len(data.class_names),
        input_shape=(size, size, 3),
        variant=recipe.variant,
        **recipe.spec,
    )
    crop_fraction = 1.0 if data.pixels else 0.875
    if model.card.preprocessing is None:
        return model, Preprocessing(size, crop_fraction=crop_fraction)
    published = Preprocessing.from_json(model.card.preprocessing)
    return model, dataclasses.replace(published, size=size, crop_fraction=crop_fraction)


def _rebuilt(spec: Spec, recipe: Recipe, data: Data) -> keras.Model:
    """The network of a run that began before; its weights come from a checkpoint."""
    size = recipe.size or spec.input_size
    return applications.create(
        recipe.model,
        classes=len(data.class_names),
        input_shape=(size, size, 3),
        **vars(spec),
    )


def _freeze(model: keras.Model, patterns: tuple[str, ...]) -> None:
    """Keep layers as they are; frozen norms use their running statistics.

    Raises:
        ValueError: a pattern fits no layer, or nothing is left to train.
    """
    for pattern in patterns:
        layers = [layer for layer in model.layers if fnmatch.fnmatchcase(layer.name, pattern)]
        if not layers:
            some = ", ".join(layer.name for layer in model.layers if layer.weights)[:120]
            raise ValueError(f"No layer is called {pattern!r}, as freeze says; there are {some}...")
        for layer in layers:
            layer.trainable = False
    if not model.trainable_variables:
        raise ValueError(f"freeze={','.join(patterns)} leaves nothing to train.")


def _class_weights(data: Data) -> np.ndarray:
    """Weight of each class in the loss: images over classes times images of the class."""
    labels = data.split("train").labels
    counts = np.bincount(labels, minlength=len(data.class_names))
    return (len(labels) / (len(counts) * np.maximum(1, counts))).astype("float32")


def _check_settings(recipe: Recipe) -> None:
    """Refuse what would be noticed only after hours."""
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "Training reads images as channels_last; set image_data_format to it in keras.json or "
            "with keras.config.set_image_data_format."
        )
    if recipe.tensorboard:
        events.require_library()
