"""`senet`: the group of commands, its errors and its exit codes."""

import importlib
import importlib.util
import io
import json
import os
import sys
import traceback
from typing import Any

import click

import senet
from senet import quiet

COMMANDS = {
    "train": "Train a network on images.",
    "experiment": "Compare networks under one recipe, with several seeds.",
    "evaluate": "Score a trained network on labelled images.",
    "compare": "Put training runs side by side.",
    "predict": "Name what is on images.",
    "explain": "Show what the gates of a network do, and where it looks.",
    "fold": "Take out the gates that can be constants.",
    "export": "Write a network for another runtime, proved equal.",
    "quantize": "Write a network in int8, if it stays as good.",
    "list": "List the networks of the family.",
    "info": "Show parameters, multiply-adds and stages of a network.",
    "convert": "Write a network to another kind of weights file.",
    "draw": "Draw a network and its blocks as SVG and PNG.",
}
BACKENDS = ("tensorflow", "jax", "torch")
EXPORT = ("ai_edge_litert", "nncf", "onnx", "onnxruntime", "openvino", "tf2onnx")
EXTRAS = {"tensorboardX": "tensorboard"} | dict.fromkeys(EXPORT, "export")
"""The extra that each optional library belongs to."""
FAILED, INTERRUPTED = 1, 130


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
        """Write the table of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command; an unknown one is answered with the known ones."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(f"{error.message} Known: {', '.join(COMMANDS)}.", ctx) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(senet.__version__, "-V", "--version", prog_name="senet")
@click.option("--debug", is_flag=True, help="Show tracebacks, and what libraries say.")
def senet_command(debug: bool) -> None:
    """Squeeze-and-Excitation networks for Keras 3.

    Exit codes: 0 done, 1 failed (standard error says why), 2 wrong usage, 130 interrupted
    by Ctrl-C, 143 by SIGTERM.
    """
    if debug:
        os.environ[quiet.DEBUG] = "1"
    quiet.hush()
    _choose_backend()


def main() -> None:
    """Run the command line; the entry point of the `senet` program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # letters that a terminal has not are escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        code = senet_command.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        sys.unraisablehook = lambda _: None  # loaders cut off in their constructors complain
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    except ModuleNotFoundError as error:
        if error.name not in (*BACKENDS, *EXTRAS):
            raise
        print(f"error: {_how_to_install(error.name)}", file=sys.stderr)
        code = FAILED
    except (ValueError, OSError, MemoryError) as error:
        if quiet.debugging():
            traceback.print_exc()
        print(f"error: {str(error) or type(error).__name__}", file=sys.stderr)
        code = FAILED
    sys.exit(code if isinstance(code, int) else 0)


def _how_to_install(library: str) -> str:
    if library in BACKENDS:
        return (
            f"Keras is to use {library}, which is not installed: "
            f'pip install "senet[{library}]", or set KERAS_BACKEND to one of '
            f"{', '.join(BACKENDS)} that is."
        )
    return f'This needs {library}, which is not installed: pip install "senet[{EXTRAS[library]}]".'


def _choose_backend() -> None:
    """Choose an installed backend if the user chose none."""
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if "KERAS_BACKEND" in os.environ:
        return
    installed = [backend for backend in BACKENDS if importlib.util.find_spec(backend)]
    if installed and _configured_backend() not in installed:
        os.environ["KERAS_BACKEND"] = installed[0]


def _configured_backend() -> str | None:
    """What keras.json says; Keras writes TensorFlow there by itself, installed or not."""
    home = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")
    try:
        with open(os.path.join(home, "keras.json")) as file:
            return json.load(file).get("backend")
    except (OSError, ValueError, AttributeError):
        return None
