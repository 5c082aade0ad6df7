"""`senet fold`."""

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
    help="FILE.keras to write, with FILE.json and FILE.png; an earlier folding there is replaced.",
)
@click.option(
    "--blocks",
    multiple=True,
    metavar="NAME",
    help="Block that may lose its gate, or a pattern as 'stage4_*'; several times for several. "
    "By default all.",
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
    blocks: tuple[str, ...],
    max_drop: float,
    images: int,
    batch_size: int,
) -> None:
    """Measure what each gate is worth, and take away those that do nothing.

    MODEL is a run folder, a file that senet saved, published weights as se_resnet50.imagenet, or
    with --weights the name of a network; all but a run need --data. A gate becomes its mean over
    training images, which layers around it take in exactly, or is dropped. As many go as validation
    images allow; test images confirm it once. FILE.keras is used like any network, FILE.json has
    the numbers, FILE.png the trade-off. The last line on standard output is the numbers as JSON.

    \b
    senet fold runs/pets --out pets-folded.keras
    senet fold runs/pets --max-drop 0.5 --blocks "stage4_*" --out pets-folded.keras
    senet evaluate pets-folded.keras --data photos/
    """
    import senet

    result = senet.fold(
        model,
        out,
        weights=weights,
        data=data,
        class_map=class_map,
        blocks=blocks,
        max_drop=max_drop,
        images=images,
        batch_size=batch_size,
    )
    say(result)
    say_warnings(result.warnings)
    click.echo(json.dumps(result.to_json()))
