import warnings

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from senet.plotting import fonts
from senet.plotting.curves import draw_comparison
from senet.plotting.diagrams import Box, Diagram, draw_diagrams
from senet.plotting.fonts import escape_missing, find_font
from senet.plotting.gates import draw_gate_curves
from senet.plotting.images import Tile, draw_grid
from senet.plotting.scores import draw_arms, draw_confusion
from senet.plotting.style import both

NOWHERE = "\U000e01ef"
"""A letter that no font draws: a variation selector without any use."""
HERE, OTHER = "Käse", "\u03a9\u0416"


@pytest.fixture
def drawn(monkeypatch):
    """All texts of the figures that are saved, as they are drawn, and their fonts."""
    found = []
    save = Figure.savefig

    def savefig(figure, *args, **options):
        save(figure, *args, **options)
        found.extend((t.get_text(), t.get_fontfamily()) for t in figure.findobj(Text))

    monkeypatch.setattr(Figure, "savefig", savefig)
    return found


@pytest.fixture
def rare():
    """A letter that another font of matplotlib has and the default one has not."""
    paths = {font.name: font.fname for font in font_manager.fontManager.ttflist}
    default = font_manager.get_font(fonts._list_fonts()[fonts.DEFAULT]).get_charmap()
    stix = font_manager.get_font(paths["STIXGeneral"]).get_charmap()
    return next(chr(code) for code in sorted(stix) if code > 0x2000 and code not in default)


def draw_all(tmp_path, name):
    names = (name, HERE)
    draw_confusion(np.eye(2, dtype=int), names, tmp_path / "confusion.png", f"{name}: test")
    tiles = [Tile(np.zeros((4, 4, 3), "uint8"), caption) for caption in names]
    draw_grid({name: tiles}, tmp_path / "grid.png", title=name)
    history = [dict(epoch=1, val_loss=1.0, val_accuracy=0.5)]
    draw_comparison(dict.fromkeys(names, history), tmp_path / "compared.png")
    draw_arms({key: [0.5, 0.6] for key in names}, tmp_path / "arms.png", name)
    line = dict(channels=np.arange(3), mean=np.full(3, 0.5))
    draw_gate_curves({name: dict.fromkeys(names, line)}, tmp_path / "gates.png", title=name)
    picture = Diagram(name, {"a": Box(name), "b": Box(HERE)}, [("a", "b")])
    draw_diagrams([picture], both(tmp_path / "diagram"))


def test_letters_that_no_font_has_are_escaped_everywhere_without_a_warning(tmp_path, drawn):
    name = f"a{NOWHERE}b"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_all(tmp_path, name)
    texts = [text for text, _ in drawn]
    assert sum(r"a\U000e01efb" in text for text in texts) >= 12
    assert not any(NOWHERE in text for text in texts)
    assert sum(text == HERE for text in texts) >= 7
    with Image.open(tmp_path / "confusion.png") as picture:
        assert min(picture.size) > 300


def test_letters_of_other_fonts_are_drawn_in_these(tmp_path, drawn, rare):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_all(tmp_path, f"a{rare}b")
    held = [family for text, family in drawn if f"a{rare}b" in text]
    assert len(held) >= 12
    assert all(find_font(rare) in family and family[0] == fonts.DEFAULT for family in held)


def test_only_what_no_font_has_is_escaped():
    assert (
        escape_missing(f"{HERE}\n{OTHER} {NOWHERE}") == rf"{HERE}" + "\n" + rf"{OTHER} \U000e01ef"
    )
    assert find_font("a") == fonts.DEFAULT
    assert find_font(NOWHERE) is None


def test_fonts_that_cannot_be_drawn_have_no_letters(tmp_path):
    (tmp_path / "damaged.ttf").write_bytes(b"no font")
    assert not fonts._read_letters(str(tmp_path / "damaged.ttf"))
    assert not fonts._read_letters(str(tmp_path / "gone.ttf"))
