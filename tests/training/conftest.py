import io
import os

import pytest
from PIL import Image

from senet.plotting import style


@pytest.fixture
def no_pictures(monkeypatch):
    """Pictures of one pixel, for tests that look at none: drawing takes longer than training."""
    pixel = io.BytesIO()
    Image.new("L", (1, 1)).save(pixel, "png")
    monkeypatch.setattr(style, "save", lambda figure, paths: write(paths, pixel.getvalue()))


def write(paths, content):
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        with open(path, "wb") as file:
            file.write(content)
