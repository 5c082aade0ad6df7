import io
import sys

import pytest

from senet.progress import meter, working


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_what_has_no_known_length_is_shown_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with working("writing onnx"):
        pass
    assert "writing onnx" in sys.stderr.getvalue()


def test_elsewhere_it_is_not(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with working("writing onnx"):
        pass
    assert sys.stderr.getvalue() == ""


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_meter_counts_to_its_end(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream())
    monkeypatch.setattr("senet.progress.LINE_EVERY", 0)
    with meter("reading", 3) as progress:
        for _ in range(3):
            progress.advance(1)
    assert progress.done == 3
    assert "3/3 images" in sys.stderr.getvalue()
