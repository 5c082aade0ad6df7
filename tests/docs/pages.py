"""The README and the pages of the book, taken apart."""

import dataclasses
import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = {page.name: page for page in (README, *sorted((ROOT / "docs").glob("*.md")))}
"""Every page by its name."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.S | re.M)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
OTHERS = ("cp", "export", "make", "pip", "python", "python3", "tritonserver")
"""Programs of other people in the blocks, which no test runs."""


@dataclasses.dataclass
class Block:
    """A fenced block: its language, its text, and the line of the page that it begins behind."""

    language: str
    text: str
    line: int


@dataclasses.dataclass
class Command:
    """A line for a shell: what it sets in the environment, and program and arguments."""

    settings: dict[str, str]
    words: list[str]


def read_blocks(page):
    """The blocks of a page from the top."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(found[1], found[2], text[: found.start()].count("\n") + 1)
        for found in FENCE.finditer(text)
    ]


def read_prose(page):
    """A page without its blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def read_commands(block):
    """The command lines of a block; parts of `a && b` count as lines."""
    commands = []
    for line in block.text.replace("\\\n", " ").splitlines():
        words, settings = shlex.split(line, comments=True), {}
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            name, _, settings[name] = words.pop(0).partition("=")
        part = []
        for word in [*words, "&&"]:
            if word != "&&":
                part.append(word)
            elif part:
                commands.append(Command(settings, part))
                part = []
    return commands
