"""`senet.train` and `senet.resume`: from images to a run folder."""

import dataclasses
import datetime
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from senet.errors import InputError, one_family
from senet.recipes.recipe import Recipe
from senet.recipes.toml import merge_recipe
from senet.runs.folder import CONFUSION, CURVES, MODEL, PREDICTIONS, REPORT


@dataclasses.dataclass(frozen=True, repr=False)
class TrainingResult(os.PathLike):
    """What a training run left; it stands for its folder wherever a path is asked for.

    Args:
        folder: of the run.
        values: what `result.json` holds, as plain values: scores on held-out images (`top1`,
            `top5`, `loss`, 0 to 1 and nats), `images` that were scored, `epochs`, `seconds`,
            `interrupted` (the name of a signal, or `None`), `warnings` and more.

    Example:
        >>> run = senet.train("photos", "se_resnet10", size=32, epochs=2, batch_size=8, out="run")
        >>> run.epochs, 0 <= run.top1 <= 1
        (2, True)
        >>> prediction = senet.predict(run, "photo.jpg")
    """

    folder: pathlib.Path
    values: Mapping[str, Any]

    def __fspath__(self) -> str:
        return str(self.folder)

    @property
    def top1(self) -> float | None:
        """Share of the held-out images that are recognised, 0 to 1; `None` without any."""
        return self.values.get("top1")

    @property
    def images(self) -> int | None:
        """Number of held-out images that were scored."""
        return self.values.get("images")

    @property
    def epochs(self) -> int:
        """Passes over the training images."""
        return self.values["epochs"]

    @property
    def interrupted(self) -> str | None:
        """The signal that ended the run early, or `None`; `senet.resume` goes on with it."""
        return self.values["interrupted"]

    @property
    def warnings(self) -> list[str]:
        """What makes the scores other than they seem, a sentence each."""
        return list(self.values.get("warnings", ()))

    def to_json(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        return dict(self.values)

    def __str__(self) -> str:
        """The score, and where the pictures and the network are, a line each."""
        return "\n".join(_describe(self.folder, self.values))

    def __repr__(self) -> str:
        warnings = [f"warning: {line}" for line in self.warnings]
        return "\n".join([f"TrainingResult({str(self.folder)!r})", str(self), *warnings])


def _describe(folder: pathlib.Path, values: Mapping[str, Any]) -> list[str]:
    from senet.evaluation import describe_seen

    if "split" not in values:
        return [f"ended early by {values['interrupted']} and not scored: {folder}"]
    baseline = ""
    if "baseline" in values:  # older runs have none
        baseline = f" (baseline {values['baseline']:.2%}: always {values['majority_class']!r})"
    if "top1" in values:
        count = f"{values['images']} {values['split']} images"
        lines = [f"top-1 {values['top1']:.2%} on {count}{baseline}"]
        if "trained_on_complete" in values:  # older runs do not say it
            lines += describe_seen(values)
    else:
        count = f"{values['trained_on']} {values['split']} images"
        lines = [f"no score: all {count} were trained on"]
    pictures = ", ".join(str(folder / name) for name in (CURVES, CONFUSION, PREDICTIONS))
    return [
        *lines,
        f"report: {folder / REPORT}",
        f"pictures: {pictures}",
        f"model: {folder / MODEL}",
    ]


@one_family()
def train(
    data: str | os.PathLike | None = None,
    model: str | None = None,
    out: str | os.PathLike | None = None,
    *,
    preset: str | None = None,
    recipe: Recipe | str | os.PathLike | None = None,
    **fields: Any,
) -> TrainingResult:
    """Train a network on images, score it on images held out, and leave a run folder.

    The folder holds the network (`model.keras`), the recipe, checkpoints, metrics, pictures and a
    report. Ctrl-C saves a checkpoint and ends the run, and `senet.resume` goes on with it. Every
    field is also a flag of `senet train`, whose help describes them all.

    Args:
        data: a folder or zip file with a folder of images for each class; a `.csv` list, `.npz`
            arrays or `.tar` shards; or `"digits"` (the default), `"fashion_mnist"`, `"cifar10"`,
            `"cifar100"`.
        model: name of a network of `senet.list_models()`; by default that of `weights`, or
            `"se_resnet20_cifar"`.
        out: folder of the run, new or empty; `runs/MODEL-DATA-TIME` by default.
        preset: recipe to start from: `"quick"` (the default), `"paper"`, `"modern"`, `"cifar"` or
            `"finetune"`.
        recipe: in place of a preset a `Recipe`, or the path of a TOML file, as `recipe.toml` of a
            run.
        **fields: fields of the recipe to set otherwise, as `epochs=10`, `size=96`,
            `weights="runs/pets"` (a run, a file or published weights to start from) or
            `spec={"ratio": 8}`.

    Returns:
        A `TrainingResult`, which `senet.evaluate`, `senet.predict`, `senet.export` and others take
        as the network to use.

    Raises:
        InputError: a field is unknown or out of its range, or the data cannot be used; `Diverged`,
            `TooManyBadImages` and `WeightsError` are such errors.
        NotFoundError: there is no such data, recipe or weights.
        ExistsError: `out` holds something already, or another process trains in it.
        CapacityError: network or batch do not fit into the memory of this machine.

    Example:
        >>> run = senet.train("digits", epochs=5, out="runs/digits")
        >>> run
        TrainingResult('runs/digits')
        top-1 98.33% on 359 test images (baseline 10.31%: always '3')
        ...
    """
    if preset is not None and recipe is not None:
        raise InputError("preset and recipe both name a recipe: give one of them.")
    given = {"data": data, "model": model} | fields
    named = ("data", "model")  # None is their default here; of a field it is a value
    changes = {
        name: _as_text(value)
        for name, value in given.items()
        if value is not None or name not in named
    }
    wanted = merge_recipe(preset, recipe, changes)
    return train_recipe(wanted, pathlib.Path(out) if out is not None else choose_folder(wanted))


def train_recipe(recipe: Recipe, folder: pathlib.Path) -> TrainingResult:
    """`train` by a recipe, into a folder."""
    from senet.training import run

    return TrainingResult(folder, run.train(recipe, folder))


@one_family()
def resume(run: str | os.PathLike, **changes: Any) -> TrainingResult:
    """Go on with a run that was interrupted, where its newest checkpoint was written.

    Args:
        run: its folder.
        **changes: fields of the recipe to set otherwise; only those that do not decide what is
            learnt may change, as `workers`, and `data` where the same images lie elsewhere now.
            More `epochs` lengthen a run whose schedule is `"constant"` or `"plateau"`; the others
            end with their last epoch.

    Returns:
        A `TrainingResult`; that of a finished run is given again.

    Raises:
        NotFoundError: the folder is no run folder.
        InputError: recipe, data or network are not those that the run began with; or the run is
            damaged.
        ExistsError: another process trains in it.

    Example:
        >>> senet.resume("runs/digits").epochs
        5
    """
    from senet.training import run as runs

    changed = {name: _as_text(value) for name, value in changes.items()}
    return TrainingResult(pathlib.Path(run), runs.resume(run, changed))


def _as_text(value: Any) -> Any:
    """A path as text, which is what a recipe holds."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def choose_folder(recipe: Recipe) -> pathlib.Path:
    """Where a run goes that names no folder: below `runs`, by network, data and time."""
    weights = pathlib.Path(recipe.weights or "").absolute()
    network = recipe.model or (weights.parent.name if weights.name == MODEL else weights.stem)
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return pathlib.Path("runs", f"{network}-{pathlib.Path(recipe.data).stem}-{now}")
