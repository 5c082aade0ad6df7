"""`senet compare`."""

import json
import pathlib

import click

from senet.cli.command import command_of, complain, say


@command_of("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=pathlib.Path))
@click.option(
    "--out",
    type=click.Path(path_type=pathlib.Path, file_okay=False),
    help="Folder for compare.html and its picture; none are written by default.",
)
def command(runs: tuple[pathlib.Path, ...], out: pathlib.Path | None) -> int:
    """Put RUNS side by side: folders that `senet train` left.

    \b
    senet compare runs/a runs/b
    senet compare runs/* --out comparison

    Prints a table of the runs, what differs in recipe, versions and machine, then one line of
    JSON. A folder that cannot be read is named on standard error, the others are compared all the
    same, and the exit code is 1.
    """
    from senet.runs.comparison import Comparison, read_runs

    past, errors = read_runs(runs)
    for error in errors:
        complain(f"error: {error}")
    if not past:
        return 1
    comparison = Comparison(past)
    say(comparison)
    for warning in comparison.warnings:
        complain(f"warning: {warning}")
    written = comparison.write(out) if out else []
    for path in written:
        complain(f"written: {path}")
    click.echo(json.dumps(comparison.to_json() | {"written": [str(path) for path in written]}))
    return 1 if errors else 0
