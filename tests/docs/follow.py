"""Do what a page says, in the folder of today: its programs and its `senet` commands, from the top.

python -m tests.docs.follow PAGE

The programs of a page share their names, as in a notebook. All of it happens in one process, for
one that starts TensorFlow takes seconds.
"""

import contextlib
import io
import re
import sys

import keras

from senet.cli.main import main as senet
from tests.docs.pages import OTHERS, PAGES, read_blocks, read_commands

SHORTER = {
    "senet train --preset finetune --data photos.zip": ["--epochs", "1", "--size", "64"],
    "senet train --preset finetune --data others/": ["--epochs", "2"],
    "senet train --data photos/ --spec": ["--epochs", "2"],
    "senet experiment": ["--epochs", "1", "--size", "32", "--seeds", "0,1"],
}
"""What is added to commands that begin so, for that takes minutes."""


def follow(page):
    names = {"__name__": "__main__"}
    for block in read_blocks(page):
        if block.language == "python":
            print(f"{page.name}, line {block.line}, python", file=sys.stderr)
            lines = "\n" * block.line + block.text  # so that errors name the line of the page
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                exec(compile(lines, str(page), "exec"), names)  # noqa: S102
            check_said(block.text, said.getvalue())
        elif block.language == "bash":
            for command in read_commands(block):
                print(f"{page.name}, line {block.line}: {command.words}", file=sys.stderr)
                run_command(command)
        elif block.language not in ("text", "bibtex"):
            raise ValueError(f"{page.name}, line {block.line}: what is {block.language!r}?")


def check_said(program, said):
    """Every `print(...)  # prints SOMETHING` of a program must have said a line with it."""
    for promised in re.findall(r"^print\(.*\)  # prints (.+)$", program, flags=re.M):
        whole = rf"(?<![\w.]){re.escape(promised)}(?![\w.])"
        if not re.search(whole, said):
            raise AssertionError(f"{promised!r} was to be printed, not:\n{said}")


def run_command(command):
    program, *arguments = command.words
    if program != "senet":
        if program not in (*OTHERS, "."):
            raise ValueError(f"{program} is no program that the pages may name.")
        return
    if command.settings:
        raise ValueError("Settings take a process of their own.")
    whole = " ".join(command.words)
    for beginning, more in SHORTER.items():
        if whole.startswith(beginning):
            arguments = [*arguments, *more]
    keras.utils.clear_session(free_memory=False)
    sys.argv = ["senet", *arguments]
    try:
        senet()
    except SystemExit as ended:
        if ended.code:
            raise RuntimeError(f"{whole} ended with {ended.code}.") from None


if __name__ == "__main__":
    follow(PAGES[sys.argv[1]])
