import io

import pytest
from PIL import Image

from senet.plotting import charts


@pytest.fixture
def no_pictures(monkeypatch):
    """Pictures of one pixel, for tests that look at none: drawing takes longer than training."""
    pixel = io.BytesIO()
    Image.new("L", (1, 1)).save(pixel, "png")
    monkeypatch.setattr(charts, "_save", lambda figure, path: write(path, pixel.getvalue()))


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)
