"""Take the pictures of pages that the book shows: `make screenshots`.

python docs/screenshots.py FOLDER     with FOLDER/start, FOLDER/start-inside and FOLDER/compare;
                                      takes the Chromium that the system has
"""

import dataclasses
import pathlib
import shutil
import subprocess
import sys
import tempfile

from PIL import Image

IMAGES = pathlib.Path(__file__).parent / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DARK = ("--force-dark-mode", "--blink-settings=preferredColorScheme=0")
NARROWEST = 500
"""Pixels below which Chromium makes no window; a phone is a frame in one."""
PHONE = 390


@dataclasses.dataclass(frozen=True)
class Shot:
    """A part of a page.

    Args:
        page: its file in the folder.
        part: the heading that is at the top, by its id; the top of the page if empty.
        width: pixels.
        height: pixels.
        dark: whether the reader's system is.
    """

    page: str
    part: str = ""
    width: int = 1100
    height: int = 930
    dark: bool = False


SHOTS = {
    "report": [Shot("start/report.html")],
    "report-dark": [Shot("start/report.html", "mistakes", height=900, dark=True)],
    "report-phone": [
        Shot("start/report.html", width=PHONE, height=800),
        Shot("start/report.html", "confusion-matrix", PHONE, 800, dark=True),
        Shot("start/report.html", "mistakes", PHONE, 800),
        Shot("start-inside/explain.html", "", PHONE, 800, dark=True),
    ],
    "explain": [Shot("start-inside/explain.html", "where-the-network-looked", height=1150)],
    "compare": [Shot("compare/compare.html", height=860, dark=True)],
}
"""What is beside each other on each picture."""


def main(folder: pathlib.Path) -> int:
    """Take every picture."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"None of {', '.join(BROWSERS)} is there to draw the pages.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as place:
        for name, shots in SHOTS.items():
            taken = [take(browser, folder, shot, pathlib.Path(place)) for shot in shots]
            join(taken).save(IMAGES / f"{name}.png", optimize=True)
    return 0


def take(browser: str, folder: pathlib.Path, shot: Shot, place: pathlib.Path) -> Image.Image:
    """What a browser shows of a part of a page."""
    address = (folder / shot.page).resolve().as_uri() + f"#{shot.part}" * bool(shot.part)
    frame = place / "frame.html"  # a page that is opened at a part of it is drawn empty
    look = f'style="border: 0" width="{shot.width}" height="{shot.height}"'
    frame.write_text(f'<body style="margin: 0"><iframe src="{address}" {look}></iframe></body>')
    picture = place / "picture.png"
    size = f"--window-size={max(shot.width, NARROWEST)},{shot.height}"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", size]
    options += [*(DARK if shot.dark else ()), f"--screenshot={picture}", frame.as_uri()]
    subprocess.run([browser, *options], check=True, stderr=subprocess.DEVNULL)
    with Image.open(picture) as whole:
        return whole.convert("RGB").crop((0, 0, shot.width, shot.height))


def join(pictures: list[Image.Image], gap: int = 16) -> Image.Image:
    """Pictures of the same height beside each other."""
    if len(pictures) == 1:
        return pictures[0]
    width = sum(picture.width + gap for picture in pictures) - gap
    joined = Image.new("RGB", (width, pictures[0].height), "#9aa3ad")
    left = 0
    for picture in pictures:
        joined.paste(picture, (left, 0))
        left += picture.width + gap
    return joined


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
