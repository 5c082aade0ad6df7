"""`senet train`."""

import dataclasses
import datetime
import json
import pathlib
import sys
from typing import Any, Literal, get_args, get_origin

import click

from senet.training import processes as team
from senet.training.recipe import PRESETS, Recipe, kind_of, merged, read_toml, value_of

EXIT_CODES = {"SIGINT": 130, "SIGTERM": 143}


class Listed(click.ParamType):
    """Values with commas between them."""

    name = "list"

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[Any, ...]:
        """The values of `0.3,0.6` as a tuple."""
        try:
            return tuple(self.kind(part) for part in str(value).split(",") if part)
        except ValueError:
            self.fail(f"{value!r} is no list of values with commas between them.", param, ctx)


class Assigned(click.ParamType):
    """A field and its value."""

    name = "field=value"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, Any]:
        """The two sides of `ratio=8`."""
        field, sign, text = str(value).partition("=")
        if not sign or not field:
            self.fail(f"{value!r} is no field=value, as ratio=8.", param, ctx)
        return field.strip().replace("-", "_"), value_of(text.strip())


def recipe_options(function):
    """A flag for each field of `Recipe`, of its type; one that is not given is `None`."""
    for field in reversed(dataclasses.fields(Recipe)):
        kind, _ = kind_of(field)
        flag = "--" + field.name.replace("_", "-")
        options: dict[str, Any] = dict(default=None, help=_help(field))
        if kind is bool:
            flag = f"{flag}/--no-{flag[2:]}"
        elif kind is dict:
            options |= dict(type=Assigned(), multiple=True)
        elif get_origin(kind) is Literal:
            options |= dict(type=click.Choice(get_args(kind)))
        elif get_origin(kind) is tuple:
            options |= dict(type=Listed(get_args(kind)[0]))
        else:
            options |= dict(type=kind)
        function = click.option(flag, field.name, **options)(function)
    return function


def _help(field: dataclasses.Field) -> str:
    text, default = field.metadata["help"], field.default
    if default is dataclasses.MISSING or default is None or default is False or default == ():
        return text
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    return f"{text}  [default: {shown}]"


def given(fields: dict[str, Any]) -> dict[str, Any]:
    """The flags that were given, as fields of a recipe."""
    said = {name: value for name, value in fields.items() if value is not None}
    spec = dict(said.pop("spec"))
    return said | {"spec": spec} if spec else said


def base_of(preset: str | None, file: pathlib.Path | None, said: dict[str, Any]) -> dict[str, Any]:
    """Fields of a preset or a file, and over them those of the flags."""
    if preset and file:
        raise click.UsageError("--preset and --recipe both name a recipe: give one of them.")
    base = read_toml(file) if file else PRESETS[preset or "quick"]
    return merged(base, said)


@click.command("train", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    help="Recipe to start from; the other flags change it.",
)
@click.option(
    "--recipe",
    "file",
    type=click.Path(path_type=pathlib.Path),
    help="TOML file of a recipe, as recipe.toml of a run; the other flags change it.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=pathlib.Path),
    help="Folder of a run that was interrupted: go on with it.",
)
@click.option(
    "--out",
    type=click.Path(path_type=pathlib.Path, file_okay=False),
    help="Folder of the run, new or empty; runs/MODEL-DATA-TIME by default.",
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=1,
    help="Train in several processes of this machine that share every batch, on JAX.",
)
@recipe_options
def command(
    preset: str | None,
    file: pathlib.Path | None,
    resume: pathlib.Path | None,
    out: pathlib.Path | None,
    processes: int,
    **fields: Any,
) -> int:
    """Train a network on images and leave a run folder.

    The folder holds the model, the resolved configuration, checkpoints, metrics.csv, plots and
    report.html. Ctrl-C and SIGTERM save a checkpoint and end the run with exit code 130 or 143;
    --resume goes on with it, after a kill too. The last line on standard output is the result as
    JSON.

    \b
    senet train                                     digits, in about a minute
    senet train --data photos/ --model se_resnet10 --size 96
    senet train --preset finetune --data photos.zip --weights seresnet50.safetensors
    senet train --resume runs/photos
    """
    said = given(fields)
    if processes > 1 and not team.inside():
        arguments = sys.argv[1:]
        if resume is None and out is None:
            recipe = Recipe.from_json(base_of(preset, file, said))
            arguments += ["--out", str(_default_folder(recipe))]
        return team.launch(arguments, processes)
    if resume is not None:
        if preset or file or out:
            raise click.UsageError("--resume goes on with its own recipe and folder.")
        from senet.training.loop import resume as go_on

        folder, result = resume, go_on(resume, said)
    else:
        recipe = Recipe.from_json(base_of(preset, file, said))
        folder = out or _default_folder(recipe)
        from senet.training.loop import train

        result = train(recipe, folder)
    if "top1" in result:
        print(
            f"top-1 {result['top1']:.2%} on {result['images']} {result['split']} images\n"
            f"report: {folder / 'report.html'}\npictures: "
            + ", ".join(f"{folder / name}.png" for name in ("curves", "confusion", "predictions"))
            + f"\nmodel: {folder / 'model.keras'}",
            file=sys.stderr,
        )
    print(json.dumps(result))
    return EXIT_CODES[result["interrupted"]] if result["interrupted"] else 0


def _default_folder(recipe: Recipe) -> pathlib.Path:
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return pathlib.Path("runs", f"{recipe.model}-{pathlib.Path(recipe.data).stem}-{now}")
