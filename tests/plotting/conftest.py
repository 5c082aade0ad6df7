import pytest

from senet.plotting import style


@pytest.fixture
def drawn(monkeypatch):
    """Keep the figures that are saved."""
    figures = []
    save = style.save
    monkeypatch.setattr(
        style, "save", lambda figure, paths: figures.append(figure) or save(figure, paths)
    )
    return figures
