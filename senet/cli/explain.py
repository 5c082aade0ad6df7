"""`senet explain`."""

import json
import pathlib

import click

from senet.cli.command import command_of, say, say_warnings


@command_of("explain")
@click.argument("model", type=click.Path(path_type=pathlib.Path))
@click.option(
    "--weights", help="Published weights, a run or a file, where MODEL is the name of a network."
)
@click.option("--data", help="Folder, zip or name; by default what the run was trained on.")
@click.option("--class-map", help="File that renames or merges classes, .csv or .json.")
@click.option("--split", help="train, validation, test or all; as for senet evaluate.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=pathlib.Path),
    help="Folder to write; an earlier report there is replaced.",
)
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
def command(
    model: pathlib.Path,
    weights: str | None,
    data: str | None,
    class_map: str | None,
    split: str | None,
    out: pathlib.Path,
    batch_size: int,
) -> None:
    """Show what the gates of a network do on labelled images, and where it looks.

    MODEL is a run folder, a file that senet saved, published weights as se_resnet50.imagenet, or
    with --weights the name of a network. Without
    --data the images are those that the run held out; what the network was trained on is left out
    of others too, unless --split train asks for its own training images. The folder gets
    report.html, its pictures as PNG, and explain.json. The last line on standard output is the
    numbers as JSON.

    \b
    senet explain runs/pets --out pets-inside
    senet explain se_resnet50 --weights imagenet --data imagenet/val --out inside
    """
    from senet.evaluation import describe_seen
    from senet.explanation.report import MANIFEST, explain
    from senet.prediction.labelled import labelled_images, take_held_out
    from senet.prediction.trained import load_in_keras

    trained = load_in_keras(model, weights)
    images = labelled_images(trained, data, split, class_map)
    split = split or images.data.held_out
    source, seen = take_held_out(trained, images, split)
    about = images.about(split) | seen
    found = explain(
        trained.model,
        source,
        trained.preprocessing,
        trained.class_names,
        out,
        about=about,
        batch_size=batch_size,
    )
    for finding in found.findings:
        say(f"{finding.claim} {finding.answer.capitalize()}: {finding.numbers}")
    for line in describe_seen(about):
        say(line)
    say_warnings([*about["warnings"], *found.evaluation.warnings])
    say(f"report: {out / 'report.html'}")
    click.echo(json.dumps(json.loads((out / MANIFEST).read_text("utf-8"))))
