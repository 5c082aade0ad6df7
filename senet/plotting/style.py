"""How all pictures and pages look: one colour scheme, light and dark, and how they are saved.

A picture is drawn in light colours. In the SVG a style sheet exchanges them where the reader's
system is dark, so that one file serves both; programs that know no such rule show the light one. A
PNG is light. The colours of lines can be told apart with every kind of colour blindness, and from
the ground, in both: `tests/plotting/test_style.py` computes it.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from senet.files import replacing
from senet.plotting.fonts import escape_missing, fit_fonts

Paths = str | os.PathLike | Sequence[str | os.PathLike]
"""One file, or several of one drawing; the ending says what kind, `.png` or `.svg`."""

GROUND, INK, MUTED, RULE = "#ffffff", "#1f2328", "#5a636e", "#d8dde3"
"""What is drawn on, text and axes, what is said aside, lines of a grid."""
PLAIN, WARM, FRESH, FAINT = "#e8eef7", "#fde7c8", "#e3f1df", "#f3f4f6"
"""Faces of boxes, with ink on them."""
BLUE, ORANGE, GREEN, PURPLE = "#1a73d2", "#db6410", "#014238", "#512670"
PINK, BROWN, MOSS, RED = "#c375a9", "#733400", "#848d63", "#b3261e"
"""Red says that something is wrong, and is no colour of a line that is one of several."""
SERIES = (BLUE, ORANGE, PINK, MOSS, PURPLE, GREEN, BROWN)
"""Of lines beside each other, in this order: those last that are near to ink."""
DARK = {
    GROUND: "#15191e",
    INK: "#e6e9ec",
    MUTED: "#a4adb7",
    RULE: "#353c45",
    PLAIN: "#243044",
    WARM: "#4a3617",
    FRESH: "#22402a",
    FAINT: "#232930",
    BLUE: "#5aa9f8",
    ORANGE: "#f08a3c",
    GREEN: "#b4fbcf",
    PURPLE: "#8849ff",
    PINK: "#db96c0",
    BROWN: "#866e4c",
    MOSS: "#f0f195",
    RED: "#ff8a80",
}
"""What stands for each colour on a dark ground."""
ALWAYS_WHITE = "#fffffe"
"""On a coloured face, which is there in the dark too."""
LINES, MARKERS = ("-", "--", ":", "-."), "osD^vPX"
"""What tells lines apart that have the same colour, and to whom colours say little."""
LONGEST = 24
"""Letters of a name in a picture; the middle of a longer one is left out."""
LOOK: dict[Any, Any] = {
    "figure.facecolor": GROUND,
    "savefig.facecolor": GROUND,
    "axes.facecolor": GROUND,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "figure.titlesize": 12,
    "font.size": 9,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "legend.edgecolor": RULE,
    "legend.facecolor": GROUND,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.7,
    "lines.markersize": 4,
    "patch.edgecolor": GROUND,
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "senet",
}
"""Settings of matplotlib while a picture is drawn."""
METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
"""What is not written into an SVG: two drawings of the same are the same file."""


@contextlib.contextmanager
def drawing(paths: Paths, width: float, height: float, title: str = "") -> Iterator[Figure]:
    """A figure to draw on, which is saved in the end.

    Args:
        paths: of the picture.
        width: inches, at 72 pixels in the SVG and 144 in the PNG.
        height: inches.
        title: above it; is text and no mathematics.
    """
    with matplotlib.rc_context(LOOK):
        figure = Figure(figsize=(width, height), layout="constrained")
        if title:
            figure.suptitle(title, parse_math=False)
        yield figure
        fit_fonts(figure)
        save(figure, paths)


def save(figure: Figure, paths: Paths) -> None:
    """Save a figure as each of these files; an SVG with colours for light and dark."""
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        with replacing(path) as written:
            if written.suffix == ".svg":
                figure.savefig(written, metadata=METADATA)
                _add_dark(written)
            else:
                figure.savefig(written, dpi=144)
        figure.set_layout_engine("none")  # the parts stay where they are: the next takes half


def both(path: str | os.PathLike) -> tuple[pathlib.Path, pathlib.Path]:
    """The SVG and the PNG of a picture of this name."""
    return pathlib.Path(path).with_suffix(".svg"), pathlib.Path(path).with_suffix(".png")


def series(number: int) -> dict[str, Any]:
    """Colour, dashes and marker of one of several lines, from 0: other ones for each."""
    turn, place = divmod(number, len(SERIES))
    return dict(
        color=SERIES[place],
        linestyle=LINES[turn % len(LINES)],
        marker=MARKERS[(place + turn // len(LINES)) % len(MARKERS)],
    )


def mark_size(points: int) -> float:
    """Size of the markers of a line of so many points: large where they are all there is."""
    return 7 if points == 1 else 4 if points <= 40 else 0


def shorten(name: str, longest: int = LONGEST) -> str:
    """A name without its middle where it is too long for a picture; its ends tell it apart."""
    return cut_middle(escape_missing(name), longest)


def cut_middle(text: str, longest: int) -> str:
    """A text of at most so many letters: its middle goes, for the ends tell names apart."""
    if len(text) <= longest:
        return text
    end = longest // 3
    return f"{text[: longest - end - 1]}…{text[-end:]}"


def style_pages() -> str:
    """The colours as a style sheet that gives them names, `--ink` and the like, light and dark."""
    names = dict(ground=GROUND, ink=INK, muted=MUTED, rule=RULE, faint=FAINT, accent=BLUE)
    names |= dict(wrong=RED)
    light = " ".join(f"--{name}: {colour};" for name, colour in names.items())
    dark = " ".join(f"--{name}: {DARK[colour]};" for name, colour in names.items())
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    )


def _add_dark(path: pathlib.Path) -> None:
    """Put a style sheet into an SVG that exchanges its colours where the reader's system is dark.

    Matplotlib writes each colour into the element that has it, as `style="fill: #1f2328"`.
    """
    text = path.read_text(encoding="utf-8")
    rules = " ".join(
        f'[style*="{kind}: {light}"] {{ {kind}: {dark} !important }}'
        for light, dark in DARK.items()
        for kind in ("fill", "stroke")
        if f"{kind}: {light}" in text
    )
    end = text.index(">", text.index("<svg ")) + 1
    sheet = f"\n <style>@media (prefers-color-scheme: dark) {{ {rules} }}</style>"
    path.write_text(text[:end] + sheet + text[end:], encoding="utf-8")
