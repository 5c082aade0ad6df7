"""Letters of all the world in pictures: of a font that has them, or escaped."""

import functools

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

DEFAULT = "DejaVu Sans"
"""The font that matplotlib brings along: Latin, Greek, Cyrillic, Arabic and more."""
ORDINARY = (400, "normal", "regular", "book", "roman")
"""What the weight of a font is called that is neither light nor bold."""


def escape_missing(text: str) -> str:
    r"""A text whose letters some font of this machine has; others as Python writes them, `\u732b`.

    Matplotlib would draw a box for each, and warn.
    """
    return "".join(c if c == "\n" or find_font(c) else _escape(c) for c in text)


def fit_fonts(figure: Figure) -> None:
    """Give the texts of a figure the fonts that their letters need, and escape the others.

    Names beside axes cannot be changed any more, and must have been escaped before.
    """
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    needed = {find_font(c) for text in texts for c in text.get_text()} - {None, DEFAULT}
    for text in texts:
        text.set_text(escape_missing(text.get_text()))
        if needed:
            text.set_fontfamily([DEFAULT, *sorted(filter(None, needed))])


@functools.cache
def find_font(letter: str) -> str | None:
    """The name of a font that has a letter, the default one if it does; `None` where none has."""
    fonts = _list_fonts().items()
    return next((name for name, path in fonts if ord(letter) in _read_letters(path)), None)


@functools.cache
def _list_fonts() -> dict[str, str]:
    """The fonts of this machine that have an upright face of ordinary weight, and its file.

    The default one is the first. A font that has a box for every letter is none.
    """
    found = {
        font.name: font.fname
        for font in font_manager.fontManager.ttflist
        if font.style == font.stretch == "normal"
        and font.weight in ORDINARY
        and "LastResort" not in font.fname
    }
    return dict(sorted(found.items(), key=lambda pair: (pair[0] != DEFAULT, pair[0])))


@functools.cache
def _read_letters(path: str) -> frozenset[int]:
    """The letters of the font in a file; none where it cannot be drawn at any size."""
    try:
        font = font_manager.get_font(path)
        return frozenset(font.get_charmap() if font.scalable else ())
    except (RuntimeError, OSError):  # a font of pictures, as those for emoji, or a damaged one
        return frozenset()


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode()
