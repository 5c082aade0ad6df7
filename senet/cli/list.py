"""`senet list`."""

import click

from senet.models import family


@click.command("list", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("pattern", default="*")
def command(pattern: str) -> int:
    """List the networks whose names match PATTERN, a shell pattern such as 'se_resnext*'."""
    names = family.names(pattern)
    if not names:
        raise ValueError(f"No network matches {pattern!r}; `senet list` shows them all.")
    click.echo(f"{'name':<22}{'blocks':<14}{'residual':<12}{'groups':>6}{'ratio':>7}{'input':>7}")
    for name in names:
        spec = family.named_spec(name)
        blocks = ", ".join(map(str, spec.n_blocks))
        click.echo(
            f"{name:<22}{blocks:<14}{spec.residual:<12}{spec.cardinality:>6}"
            f"{spec.ratio or '-':>7}{spec.input_size:>7}"
        )
    return 0
