import itertools
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from senet.plotting import style
from senet.plotting.curves import draw_comparison, draw_curves
from senet.plotting.diagrams import Box, Diagram, draw_diagrams
from senet.plotting.folding import draw_tradeoff
from senet.plotting.gates import draw_depth_profile, draw_gate_curves
from senet.plotting.heat import draw_deletion
from senet.plotting.images import Tile, draw_grid
from senet.plotting.scores import draw_arms, draw_calibration, draw_confusion
from senet.plotting.style import DARK, GROUND, INK, MUTED, SERIES, both, cut_middle, drawing, series

RED_BLIND = "0.152286 1.052583 -0.204868 0.114503 0.786281 0.099216 -0.003882 -0.048116 1.051998"
GREEN_BLIND = "0.367322 0.860646 -0.227968 0.280085 0.672501 0.047413 -0.011820 0.042940 0.968881"
BLUE_BLIND = "1.255528 -0.076749 -0.178779 -0.078411 0.930809 0.147602 0.004733 0.691367 0.303900"
"""Machado, Oliveira and Fernandes (2009), severity 1.0: what eyes make of linear RGB."""
SEEN = dict(everybody="1 0 0 0 1 0 0 0 1", red=RED_BLIND, green=GREEN_BLIND, blue=BLUE_BLIND)
XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


SVG = "{http://www.w3.org/2000/svg}"


def linear(colour):
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(a, b):
    """As the Web Content Accessibility Guidelines define it, 1 to 21."""
    low, high = sorted(float(linear(colour) @ XYZ[1]) for colour in (a, b))
    return (high + 0.05) / (low + 0.05)


def lab(rgb):
    share = (XYZ @ rgb.clip(0, 1)) / (XYZ @ np.ones(3))
    x, y, z = np.where(share > 0.008856, np.cbrt(share), 7.787 * share + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def themes():
    return {"light": (SERIES, GROUND), "dark": ([DARK[c] for c in SERIES], DARK[GROUND])}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("eyes", SEEN)
def test_colours_of_lines_are_told_apart_by_everybody(theme, eyes):
    """A difference of 2.3 in CIELAB is just seen; matplotlib's own colours come to 3 and less."""
    colours, _ = themes()[theme]
    cones = np.array(SEEN[eyes].split(), float).reshape(3, 3)
    seen = [lab(cones @ linear(colour)) for colour in colours]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 25


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_lines_and_text_stand_out_from_the_ground(theme):
    colours, ground = themes()[theme]
    turned = {colour: colour if theme == "light" else DARK[colour] for colour in DARK}
    assert min(contrast(colour, ground) for colour in colours) >= 3  # WCAG 2.1, 1.4.11
    for text in (INK, MUTED, style.RED, style.BLUE):
        assert contrast(turned[text], ground) >= 4.5  # 1.4.3
    for face in (style.PLAIN, style.WARM, style.FRESH, style.FAINT):
        assert contrast(turned[INK], turned[face]) >= 4.5
        assert contrast(turned[MUTED], turned[face]) >= 4.5
    assert contrast(style.ALWAYS_WHITE, style.BLUE) >= 4.5


def draw(paths):
    with drawing(paths, 4, 3, "a title of $5") as figure:
        axes = figure.subplots()
        for i in range(7):
            axes.plot([0, 1], [i, i + 1], **series(i), label=f"line {i}")
        axes.bar([0], [3], color=style.BLUE)
        axes.text(0.5, 2, "said aside", color=MUTED)
        figure.legend(loc="outside lower center")


ROWS = [
    dict(epoch=e, learning_rate=0.1, loss=2.0, accuracy=0.5, val_loss=2.0, val_accuracy=0.1 * e)
    for e in (1, 2)
]
BINS = [dict(low=0.2, high=0.4, confidence=0.3, accuracy=0.25, images=4)]
BLOCK = dict(block="a", channels=8, high=0.5, low=0.2, variation=0.1, specificity=0.4)
BLOCK |= dict(shuffled=0.02, dead=2, constant=4)
LINE = dict(channels=np.arange(4), mean=np.full(4, 0.5), spread=np.full(4, 0.2))
STEPS = [dict(top1=0.9, loss=0.3, parameters=100, multiply_adds=50, milliseconds=4.0)] * 2
BOXES = [Diagram("one", {"a": Box("a", "b", "c"), "d": Box("d")}, [("a", "d")])]
LIMITS = dict(near=0.05, dead=0.01, constant=0.01)
DRAWN = {
    "by hand": draw,
    "curves": lambda path: draw_curves(ROWS, path, title="a", resumed=[1.5]),
    "one epoch": lambda path: draw_curves(ROWS[:1], path),
    "comparison": lambda path: draw_comparison({str(i): ROWS for i in range(9)}, path),
    "confusion": lambda path: draw_confusion(np.array([[9, 1], [5, 5]]), "ab", path),
    "calibration": lambda path: draw_calibration(BINS, path, "a"),
    "arms": lambda path: draw_arms({"a": [0.5, 0.7], "b": [0.6, 0.8]}, path, "a"),
    "deletion": lambda path: draw_deletion((0, 1), np.eye(2), np.ones((2, 2)), path),
    "gates": lambda path: draw_gate_curves({"a": dict.fromkeys("abc", LINE)}, path),
    "profile": lambda path: draw_depth_profile([BLOCK], ["a"], path, title="a", **LIMITS),
    "tradeoff": lambda path: draw_tradeoff("ab", STEPS, path, chosen=1, allowed=0.5),
    "diagrams": lambda path: draw_diagrams(BOXES, path),
    "images": lambda path: draw_grid({"a": [Tile(np.ones((4, 4, 3)), "b", wrong=True)]}, path),
}
SHAPES = ("text", "path", "use", "rect")


@pytest.mark.parametrize("name", DRAWN)
def test_every_colour_of_an_svg_is_one_of_the_scheme_and_has_its_dark_one(tmp_path, name):
    DRAWN[name](tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    sheet = text[text.index("<style>") : text.index("</style>")]
    used = set(re.findall(r"(fill|stroke): (#[0-9a-f]{6})", text.replace(sheet, "")))
    assert {colour for _, colour in used} <= {*DARK, style.ALWAYS_WHITE}
    assert ("fill", GROUND) in used
    for kind, colour in used - {("fill", style.ALWAYS_WHITE)}:
        assert f'[style*="{kind}: {colour}"] {{ {kind}: {DARK[colour]} !important }}' in sheet
    assert sheet.startswith("<style>@media (prefers-color-scheme: dark) {")
    root = ET.fromstring(text)  # noqa: S314 our own
    for definitions in root.iter(f"{SVG}defs"):
        definitions.clear()  # marks and clips, coloured where they are used
    looks = [e.get("style", "") for shape in SHAPES for e in root.iter(SVG + shape)]
    assert looks
    for look in looks:  # what has no colour would be black in the dark
        assert "fill: #" in look or "stroke: #" in look or "fill: none" in look, look


def test_an_svg_has_its_text_as_text_and_nothing_that_runs_or_is_fetched(tmp_path):
    draw(tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    for word in ("a title of $5", "line 3", "said aside"):
        assert word in text
    assert "<script" not in text
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"|"-//W3C[^"]*"\s+"[^"]*"', "", text)


def test_the_same_drawing_is_the_same_file(tmp_path):
    for name in ("a", "b"):
        draw(both(tmp_path / name))
    for ending in (".svg", ".png"):
        a, b = ((tmp_path / name).with_suffix(ending).read_bytes() for name in ("a", "b"))
        assert a == b


def test_hostile_names_do_not_leave_their_text(tmp_path):
    with drawing(tmp_path / "a.svg", 4, 3, "</text><script>alert(1)</script>]]>") as figure:
        figure.subplots()
    text = (tmp_path / "a.svg").read_text()
    assert "<script" not in text
    ET.fromstring(text)  # noqa: S314 our own file


def test_settings_of_matplotlib_are_as_before(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw(tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("short", "short"),
        ("x" * 24, "x" * 24),
        ("abcdefghijklmnopqrstuvwxyz", "abcdefghijklmno…stuvwxyz"),
    ],
)
def test_a_long_name_loses_its_middle(name, expected):
    assert cut_middle(name, 24) == expected


def test_pages_have_the_colours_of_pictures():
    sheet = style.style_pages()
    light, dark = sheet.split("@media (prefers-color-scheme: dark)")
    assert f"--ink: {INK};" in light
    assert f"--ink: {DARK[INK]};" in dark
    assert f"--ground: {DARK[GROUND]};" in dark
