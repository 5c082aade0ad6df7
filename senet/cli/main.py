"""`senet`: the group of commands, its errors and its exit codes."""

import importlib
import io
import sys
import traceback
from typing import Any

import click

import senet
from senet import quiet
from senet.cli.command import HELP, allow_debugging, complain, escape_lines
from senet.errors import Error, one_family

GROUPS = {
    "From data to a network": {
        "train": "Train a network on images.",
        "evaluate": "Score a trained network on labelled images.",
        "predict": "Name what is on images.",
        "compare": "Put training runs side by side.",
        "experiment": "Compare networks under one recipe, with several seeds.",
    },
    "Look inside": {
        "explain": "Show what the gates of a network do, and where it looks.",
        "fold": "Take out the gates that can be constants.",
    },
    "Deploy": {
        "export": "Write a network for another runtime, proved equal.",
        "quantize": "Write a network in int8, if it stays as good.",
    },
    "Tools": {
        "benchmark": "Measure how fast a network is here, and could be.",
        "list": "List the networks of the family.",
        "info": "Show parameters, multiply-adds and stages of a network.",
        "draw": "Draw a network and its blocks as SVG and PNG.",
        "convert": "Write a network to another kind of weights file.",
    },
}
"""The commands as the help groups them, each with its line."""
COMMANDS = {name: line for group in GROUPS.values() for name, line in group.items()}
FIRST = {
    "Train on handwritten digits; it says where the RUN is that it leaves": "senet train",
    "Train on your photographs, a folder for each class": (
        "senet train --data photos.zip --model se_resnet10 --size 96"
    ),
    "Name what is on another photograph": "senet predict photo.jpg --model RUN",
    "See what the gates of the network do, and where it looks": "senet explain RUN --out inside",
    "Take it to another runtime": "senet export RUN --format onnx --out FOLDER",
}
"""The commands to start with, which `senet` alone shows, by what they are for."""
FAILED, INTERRUPTED = 1, 130
MAX_FAULT = 300
"""Letters of an error that nobody foresaw; some libraries write pages."""


class Commands(click.Group):
    """Imports a command when it is called, so that help needs no backend."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of a name; only that one is imported."""
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"senet.cli.{name}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the tables of commands without importing any."""
        widest = max(map(len, COMMANDS))
        for title, group in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{widest}}", line) for name, line in group.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command; an unknown one is answered with the known ones."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(f"{error.message} Known: {', '.join(COMMANDS)}.", ctx) from None


@click.group(cls=Commands, context_settings=HELP, invoke_without_command=True)
@click.version_option(senet.__version__, "-V", "--version", prog_name="senet")
@click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=allow_debugging,
    help="Show tracebacks, and what libraries say.",
)
@click.pass_context
def senet_command(ctx: click.Context) -> None:
    """Squeeze-and-Excitation networks for Keras 3.

    Exit codes: 0 done, 1 failed (standard error says why), 2 wrong usage, 130 interrupted
    by Ctrl-C, 143 by SIGTERM.
    """
    if ctx.invoked_subcommand is None:
        click.echo(_describe_start())


def _describe_start() -> str:
    """What `senet` alone says."""
    lines = [f"{what}:\n  {command}\n" for what, command in FIRST.items()]
    return "\n".join(
        [
            "Squeeze-and-Excitation networks for Keras 3. Five commands to start with.\n",
            *lines,
            "senet --help lists all commands, senet COMMAND --help what one takes.",
        ]
    )


def main() -> None:
    """Run the command line; the entry point of the `senet` program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # letters that a terminal has not are escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        with one_family():
            code = senet_command.main(standalone_mode=False)
    except click.ClickException as error:
        error.message = escape_lines(error.message)  # type: ignore[misc]
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        sys.unraisablehook = lambda _: None  # loaders cut off in their constructors complain
        complain("interrupted")
        code = INTERRUPTED
    except Error as error:
        _show_traceback()
        complain(f"error: {str(error) or type(error).__name__}")
        code = FAILED
    except OSError as error:  # of the network, say
        _show_traceback()
        complain(f"error: {str(error) or type(error).__name__}")
        code = FAILED
    except Exception as error:
        _show_traceback()
        complain(f"error: {_describe_fault(error)}")
        code = FAILED
    sys.exit(code if isinstance(code, int) else 0)


def _show_traceback() -> None:
    if quiet.debugging():
        complain(traceback.format_exc().rstrip())


def _describe_fault(error: Exception) -> str:
    """What to say, on one line, of an error that nobody foresaw."""
    what = " ".join(f"{type(error).__name__}: {error}".split())
    if len(what) > MAX_FAULT:
        what = f"{what[:MAX_FAULT]}..."
    return (
        f"senet did not foresee this: {what}. Please report it to the developers of senet with the "
        "command, what it prints with --debug, and what `pip freeze` prints."
    )
