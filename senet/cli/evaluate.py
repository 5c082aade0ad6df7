"""`senet evaluate`."""

import json
import pathlib

import click


@click.command("evaluate", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=pathlib.Path))
@click.option("--weights", help="Published weights, where RUN is the name of a network.")
@click.option("--data", help="Folder, zip or name; by default what the run was trained on.")
@click.option("--split", help="train, validation, test or all; see below for the default.")
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
@click.option(
    "--confusion",
    type=click.Path(path_type=pathlib.Path),
    help="Draw the confusion matrix here (.png).",
)
def command(
    run: pathlib.Path,
    weights: str | None,
    data: str | None,
    split: str | None,
    batch_size: int,
    confusion: pathlib.Path | None,
) -> None:
    """Score a trained network on every image of a split.

    RUN is a run folder, or a .keras file (then --data is needed). Without --data the images that
    the run held out are scored; with it the test folder of that data, or all images where it has
    no such folders. Prints precision and recall of each class, then one line of JSON.

    Published weights are scored on the validation images of ImageNet, one folder for each WordNet
    id:

    \b
    senet evaluate se_resnet50 --weights imagenet --data imagenet/val
    """
    if confusion and (confusion.suffix != ".png" or not confusion.parent.is_dir()):
        raise click.BadParameter(
            f"{str(confusion)!r} must end in .png and lie in a folder that exists.",
            param_hint="--confusion",
        )
    from senet.prediction import load_trained, score

    evaluation, about = score(load_trained(run, weights), data, split, batch_size)
    rows = evaluation.per_class
    width = max(5, *(len(row["name"]) for row in rows))
    click.echo(f"{'class':<{width}}  images  precision  recall      F1")
    for row in rows:
        click.echo(
            f"{row['name']:<{width}}  {row['images']:>6}  {row['precision']:>8.1%}  "
            f"{row['recall']:>6.1%}  {row['f1']:>6.1%}"
        )
    if confusion:
        from senet import plotting

        plotting.confusion(evaluation.confusion, evaluation.class_names, confusion, about["split"])
    click.echo(json.dumps(about | evaluation.summary() | {"per_class": rows}))
