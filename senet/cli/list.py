"""`senet list`."""

import fnmatch

import click

from senet.cli.command import command_of, say
from senet.errors import InputError
from senet.models import family
from senet.weights import catalogue


@command_of("list")
@click.argument("pattern", default="*")
@click.option("--weights", is_flag=True, help="List their published weights.")
def command(pattern: str, weights: bool) -> int:
    """List the networks whose names match PATTERN, a shell pattern such as 'se_resnext*'."""
    if weights:
        return _list_weights(pattern)
    names = family.names(pattern)
    if not names:
        raise InputError(f"No network matches {pattern!r}; `senet list` shows them all.")
    say(f"{'name':<24}{'blocks':<14}{'residual':<12}{'groups':>6}{'ratio':>7}{'input':>7}")
    for name in names:
        spec = family.named_spec(name)
        blocks = ", ".join(map(str, spec.n_blocks))
        say(
            f"{name:<24}{blocks:<14}{spec.residual:<12}{spec.cardinality:>6}"
            f"{spec.ratio or '-':>7}{spec.input_size:>7}"
        )
    return 0


def _list_weights(pattern: str) -> int:
    rows = [row for row in catalogue.table() if fnmatch.fnmatchcase(row.network, pattern)]
    if not rows:
        raise InputError(f"No network with published weights matches {pattern!r}.")
    say(
        f"{'network':<24}{'weights':<22}{'top-1':>7}{'top-5':>8}{'at':>5}{'size':>6}{'crop':>7}"
        f"  {'resized':<10}{'scheme':<7}{'licence':<14}where"
    )
    for row in rows:
        chosen = "*" if row.tag == catalogue.default_tag(row.network) else ""
        scheme = "caffe" if row.variant == "caffe" else "timm"
        say(
            f"{row.network:<24}{row.tag + chosen:<22}{_score(row.top1):>7}{_score(row.top5):>8}"
            f"{row.scored_at:>5}{row.size:>6}{row.crop_fraction:>7}  {row.interpolation:<10}"
            f"{scheme:<7}{row.licence or 'not stated':<14}{row.repository or row.url}"
        )
    say(
        "* is what weights='imagenet' means. Scores are published ones, in percent, at the side in "
        f"pixels after them.\nInputs are RGB, values 0-1 minus {rows[0].mean}, divided by "
        f"{rows[0].std}."
    )
    return 0


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
