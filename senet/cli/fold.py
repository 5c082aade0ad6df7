"""`senet fold`."""

import dataclasses
import json
import pathlib

import click

from senet.cli.command import command_of, say, say_warnings


@command_of("fold")
@click.argument("model", type=click.Path(path_type=pathlib.Path))
@click.option(
    "--weights", help="Published weights, a run or a file, where MODEL is the name of a network."
)
@click.option("--data", help="Images; by default those of the run.")
@click.option("--class-map", help="File that renames or merges classes, .csv or .json.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=pathlib.Path),
    help="Folder to write; an earlier folding there is replaced.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100),
    default=0.1,
    show_default=True,
    help="Top-1 that may be lost on validation images, percentage points.",
)
@click.option(
    "--images",
    type=click.IntRange(10),
    default=2000,
    show_default=True,
    help="Training images for the means and validation images to choose by, at most.",
)
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
def command(
    model: pathlib.Path,
    weights: str | None,
    data: str | None,
    class_map: str | None,
    out: pathlib.Path,
    max_drop: float,
    images: int,
    batch_size: int,
) -> None:
    """Measure what each gate is worth, and put those that can be constants into the weights.

    MODEL is a run folder, a file that senet saved, published weights as se_resnet50.imagenet, or
    with --weights the name of a network; all but a run need --data. A gate becomes its mean over
    training images, which the layer before it takes in exactly. As many go as validation images
    allow; test images confirm it. The folder gets model.keras, fold.json and tradeoff.png, and is
    used like a run. The last line on standard output is the result as JSON.

    \b
    senet fold runs/pets --out pets-folded
    senet fold runs/pets --out pets-folded --max-drop 0.5
    """
    from senet import applications, surgery
    from senet.evaluation import describe_seen
    from senet.explanation.folding import fold_within, table
    from senet.prediction.labelled import labelled_images, take_held_out
    from senet.prediction.trained import load_in_keras

    trained = load_in_keras(model, weights)
    found = labelled_images(trained, data, "validation", class_map)  # drawn where test is
    about, unseen = found.about("test"), {}
    for name in ("validation", "test"):
        if name in found.data.splits:
            unseen[name], seen = take_held_out(trained, found, name)
            about |= seen if name == "test" else {f"{name}_trained_on": seen["trained_on"]}
    result = fold_within(
        trained.model,
        dataclasses.replace(found.data, splits=found.data.splits | unseen),
        trained.preprocessing,
        out,
        save=lambda gates, path: applications.save(surgery.fold_gates(trained.model, gates), path),
        max_drop=max_drop,
        images=images,
        batch_size=batch_size,
        run=trained.run,
        about=about,
    )
    for line in table(result):
        say(line)
    for line in describe_seen(about):  # of the test images
        say(line)
    about["warnings"] += result.warnings
    say_warnings(about["warnings"])
    say(f"written: {out}")
    click.echo(json.dumps(dict(out=str(out)) | about | result.to_json()))
