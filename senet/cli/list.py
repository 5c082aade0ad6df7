"""`senet list`."""

import fnmatch

import click

from senet.models import family
from senet.weights import catalogue


@click.command("list", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("pattern", default="*")
@click.option("--weights", is_flag=True, help="List their published weights.")
def command(pattern: str, weights: bool) -> int:
    """List the networks whose names match PATTERN, a shell pattern such as 'se_resnext*'."""
    if weights:
        return _list_weights(pattern)
    names = family.names(pattern)
    if not names:
        raise ValueError(f"No network matches {pattern!r}; `senet list` shows them all.")
    click.echo(f"{'name':<24}{'blocks':<14}{'residual':<12}{'groups':>6}{'ratio':>7}{'input':>7}")
    for name in names:
        spec = family.named_spec(name)
        blocks = ", ".join(map(str, spec.n_blocks))
        click.echo(
            f"{name:<24}{blocks:<14}{spec.residual:<12}{spec.cardinality:>6}"
            f"{spec.ratio or '-':>7}{spec.input_size:>7}"
        )
    return 0


def _list_weights(pattern: str) -> int:
    rows = [row for row in catalogue.table() if fnmatch.fnmatchcase(row.network, pattern)]
    if not rows:
        raise ValueError(f"No network with published weights matches {pattern!r}.")
    click.echo(f"{'network':<24}{'weights':<24}{'top-1':>7}{'at':>5}  {'licence':<14}where")
    for row in rows:
        score = f"{row.top1:.2f}" if row.top1 else "-"
        chosen = "*" if row.tag == catalogue.default_tag(row.network) else ""
        click.echo(
            f"{row.network:<24}{row.tag + chosen:<24}{score:>7}{row.scored_at or '-':>5}  "
            f"{row.licence or 'unknown':<14}{row.repository or row.url}"
        )
    click.echo("* is what weights='imagenet' means; top-1 is published, in percent at that side.")
    return 0
