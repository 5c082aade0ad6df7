"""The training loop: from a recipe to a run folder that can be used."""

import csv
import dataclasses
import json
import math
import os
import pathlib
import platform
import sys
import time
from importlib import metadata
from typing import Any

import keras
import numpy as np

import senet
from senet import applications, plotting
from senet.acceleration import accelerate
from senet.data.augment import Augmentation
from senet.data.pipeline import training_batches
from senet.data.preprocessing import Preprocessing
from senet.data.sources import Data, absolute, load_data
from senet.evaluation import Evaluation, evaluate
from senet.files import replacing
from senet.models.family import named_spec
from senet.progress import clock, meter
from senet.training import report
from senet.training.interruption import Interruption
from senet.training.recipe import Recipe

MODEL, CONFIG, METRICS = "model.keras", "run.json", "metrics.csv"


class Diverged(ValueError):
    """The loss stopped being a finite number."""


def train(recipe: Recipe, folder: str | os.PathLike, *, data: Data | None = None) -> dict[str, Any]:
    """Train a network and leave a run folder: model, configuration, metrics, plots, report.

    The model is saved after every epoch, so an interruption (Ctrl-C) leaves the last whole epoch,
    which is then evaluated and reported like a finished run.

    Args:
        recipe: what to do.
        folder: of the run; new or empty.
        data: in place of what `recipe.data` names.

    Returns:
        The result, as written to standard output by `senet train`: scores on held-out images,
        where the files are, and whether the run was interrupted.

    Raises:
        FileExistsError: the folder holds something already.
        ValueError: the data cannot be used, or the loss became infinite.
        KeyboardInterrupt: interrupted before the first epoch was over; nothing was trained.

    Example:
        >>> result = train(Recipe(epochs=10), "runs/digits")
        >>> result["top1"] > 0.9
        True
    """
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "Training reads images as channels_last; set image_data_format to it in keras.json or "
            "with keras.config.set_image_data_format."
        )
    _check_new(pathlib.Path(folder))
    command = recipe.command(str(folder))
    data = data or load_data(recipe.data, recipe.seed)
    recipe = _resolve(recipe, data)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with applications.keras_settings(recipe.precision):
        run = Run(recipe, folder, data, command)
        interrupted = run.fit()
        return run.finish(interrupted)


@dataclasses.dataclass
class Run:
    """One training run in progress; `train` is its one user.

    Args:
        recipe: what to do, complete.
        folder: of the run.
        data: to train on.
        command: that started it, for the record.
    """

    recipe: Recipe
    folder: pathlib.Path
    data: Data
    command: str

    def __post_init__(self) -> None:
        recipe, data = self.recipe, self.data
        keras.utils.set_random_seed(recipe.seed)
        size = recipe.size or named_spec(recipe.model).input_size
        self.preprocessing = Preprocessing(size, crop_fraction=1.0 if data.pixels else 0.875)
        self.augmentation = Augmentation(
            recipe.crop or "centre", recipe.flip or 0.0, recipe.jitter or 0.0
        )
        self.model = applications.create(
            recipe.model,
            classes=len(data.class_names),
            input_shape=(size, size, 3),
            variant=recipe.variant,
        )
        self.train_source = data.split("train")
        self.batch_size = min(recipe.batch_size, len(self.train_source))
        self.steps = len(self.train_source) // self.batch_size
        self.twin = accelerate(self.model)
        self.twin.compile(
            make_optimizer(recipe, self.steps * recipe.epochs),
            keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
            metrics=["accuracy"],
            # XLA's convolutions on a CPU are slower than TensorFlow's own; JAX has no others.
            jit_compile="auto" if keras.backend.backend() == "jax" else False,
        )
        self.history: list[dict[str, Any]] = []
        self.seconds = 0.0
        self._write_config()
        self._say_hello()

    def fit(self) -> bool:
        """Train all epochs; `True` if Ctrl-C ended it after at least one."""
        try:
            with Interruption() as interruption:
                for epoch in range(self.recipe.epochs):
                    interruption.check()
                    started = time.monotonic()
                    row = self._epoch(epoch, interruption)
                    row |= self._validate()
                    self.seconds += time.monotonic() - started
                    row["seconds"] = round(time.monotonic() - started, 2)
                    with interruption.writing():
                        self._save_model()
                        self.history.append(row)
                        self._save_metrics()
                    self._say_epoch()
        except KeyboardInterrupt:
            if not self.history:
                raise
            print("interrupted: the last whole epoch is kept", file=sys.stderr)
            return True
        return False

    def finish(self, interrupted: bool) -> dict[str, Any]:
        """Evaluate the saved model on held-out images, write plots and report."""
        model = applications.load(self.folder / MODEL)
        split = self.data.held_out
        evaluation = evaluate(
            model,
            self.data.split(split),
            self.preprocessing,
            self.data.class_names,
            batch_size=self.batch_size,
            label=f"evaluating on {split}",
        )
        result = dict(
            run=str(self.folder),
            model=self.recipe.model,
            data=self.recipe.data,
            split=split,
            **evaluation.summary(),
            epochs=len(self.history),
            seconds=round(self.seconds, 1),
            interrupted=interrupted,
        )
        self._draw(evaluation, split)
        report.write(self.folder, result, self._config(), self.history, evaluation)
        _write_json(self.folder / "result.json", result)
        return result

    def _epoch(self, epoch: int, interruption: Interruption) -> dict[str, Any]:
        recipe = self.recipe
        batches = training_batches(
            self.train_source,
            self.preprocessing,
            self.augmentation,
            batch_size=self.batch_size,
            seed=recipe.seed,
            epoch=epoch,
            n_classes=len(self.data.class_names),
        )
        losses, accuracies = [], []
        with meter(f"epoch {epoch + 1}/{recipe.epochs}", self.steps * self.batch_size) as progress:
            for batch in batches:
                interruption.check()
                self.twin.reset_metrics()  # so that they are of this batch, in every Keras
                logs = self.twin.train_on_batch(batch.images, batch.targets, return_dict=True)
                losses.append(float(logs["loss"]))
                accuracies.append(float(logs["accuracy"]))
                if not math.isfinite(losses[-1]):
                    raise self._diverged(epoch)
                loss, accuracy = np.mean(losses), np.mean(accuracies)
                progress.advance(len(batch.images), f"loss {loss:.3f}, accuracy {accuracy:.1%}")
            rate = progress.rate
        if not all(np.isfinite(weights).all() for weights in self.model.get_weights()):
            raise self._diverged(epoch)  # on JAX a ReLU turns NaN into 0, and the loss stays finite
        return dict(
            epoch=epoch + 1,
            learning_rate=float(keras.ops.convert_to_numpy(self.twin.optimizer.learning_rate)),
            loss=float(loss),
            accuracy=float(accuracy),
            images_per_second=round(rate, 1),
        )

    def _validate(self) -> dict[str, float]:
        evaluation = evaluate(
            self.model,
            self.data.split("validation"),
            self.preprocessing,
            self.data.class_names,
            batch_size=self.batch_size,
            label="validating",
        )
        return dict(
            val_loss=evaluation.loss, val_accuracy=evaluation.top1, val_top5=evaluation.top(5)
        )

    def _save_model(self) -> None:
        applications.save(
            self.model,
            self.folder / MODEL,
            class_names=self.data.class_names,
            preprocessing=self.preprocessing.to_json(),
        )

    def _save_metrics(self) -> None:
        with replacing(self.folder / METRICS) as path, open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, list(self.history[0]))
            writer.writeheader()
            writer.writerows(self.history)

    def _draw(self, evaluation: Evaluation, split: str) -> None:
        plotting.curves(self.history, self.folder / "curves.png")
        plotting.confusion(
            evaluation.confusion,
            evaluation.class_names,
            self.folder / "confusion.png",
            f"{split}: top-1 {evaluation.top1:.2%} of {len(evaluation.labels)} images",
        )
        report.draw_predictions(
            evaluation, self.data.split(split), self.preprocessing, self.folder / "predictions.png"
        )
        self._draw_samples()

    def _draw_samples(self) -> None:
        batch = next(
            training_batches(
                self.train_source,
                self.preprocessing,
                self.augmentation,
                batch_size=min(18, len(self.train_source)),
                seed=self.recipe.seed,
                epoch=0,
                n_classes=len(self.data.class_names),
            )
        )
        plotting.grid(
            [self.preprocessing.to_pixels(image) for image in batch.images],
            [self.data.class_names[label] for label in batch.targets.argmax(axis=1)],
            self.folder / "samples.png",
            title="What the network is trained on, augmentation included",
        )

    def _config(self) -> dict[str, Any]:
        backend = keras.backend.backend()
        return dict(
            command=self.command,
            recipe=dataclasses.asdict(self.recipe),
            class_names=list(self.data.class_names),
            images={name: len(split) for name, split in self.data.splits.items()},
            split_sha256=self.data.digest,
            preprocessing=self.preprocessing.to_json(),
            backend=f"{backend} {sys.modules[backend].__version__}",
            versions={p: metadata.version(p) for p in ("keras", "numpy", "grain", "pillow")}
            | {"senet": senet.__version__, "python": platform.python_version()},
            machine=dict(processor=_processor(), cores=os.cpu_count(), system=platform.system()),
        )

    def _write_config(self) -> None:
        _write_json(self.folder / CONFIG, self._config())

    def _say_hello(self) -> None:
        counts = ", ".join(f"{len(s)} {name}" for name, s in self.data.splits.items())
        parameters = sum(math.prod(v.shape) for v in self.model.trainable_variables)
        print(
            f"{self.recipe.model}, {parameters:,} parameters, {self.recipe.size} px, on "
            f"{self.recipe.data}: {len(self.data.class_names)} classes; {counts} images",
            file=sys.stderr,
        )

    def _say_epoch(self) -> None:
        row, total = self.history[-1], self.recipe.epochs
        left = self.seconds / len(self.history) * (total - len(self.history))
        print(
            f"epoch {row['epoch']}/{total}: loss {row['loss']:.3f}, accuracy {row['accuracy']:.1%}"
            f" | validation loss {row['val_loss']:.3f}, accuracy {row['val_accuracy']:.1%}"
            f" | {row['images_per_second']:.0f} images/s, {clock(left)} left",
            file=sys.stderr,
            flush=True,
        )

    def _diverged(self, epoch: int) -> Diverged:
        kept = f"The model of epoch {epoch} is kept." if self.history else "No epoch was finished."
        return Diverged(
            f"The loss or a weight became infinite or undefined in epoch {epoch + 1}. {kept} Try a "
            f"lower learning rate than {self.recipe.learning_rate} or a longer warm-up."
        )


def make_optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """SGD with Nesterov momentum 0.9; a linear warm-up, then a cosine to zero.

    Args:
        recipe: learning rate, warm-up, weight decay and precision.
        steps: of the whole run.

    Returns:
        A Keras optimizer that leaves norms and biases out of the weight decay.
    """
    warmup = round(recipe.warmup * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else recipe.learning_rate,
        max(1, steps - warmup),
        warmup_target=recipe.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.SGD(
        schedule, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay or None
    )
    if recipe.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    if recipe.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def _check_new(folder: pathlib.Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"{str(folder)!r} exists and is not an empty folder: choose another --out, or move it."
        )


def _resolve(recipe: Recipe, data: Data) -> Recipe:
    """Fill in what depends on the network and the data."""
    small = data.pixels is not None
    recipe = dataclasses.replace(recipe, data=absolute(recipe.data))
    defaults: dict[str, Any] = dict(
        size=named_spec(recipe.model).input_size,
        crop="shift" if small else "resized",
        flip=0.5 if data.mirror else 0.0,
        jitter=0.0 if small else 0.2,
    )
    missing = {name: value for name, value in defaults.items() if getattr(recipe, name) is None}
    return dataclasses.replace(recipe, **missing)


def _processor() -> str:
    """Name of the processor, as people know it where the system tells."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _write_json(path: pathlib.Path, values: dict[str, Any]) -> None:
    with replacing(path) as written:
        written.write_text(json.dumps(values, indent=1) + "\n")
