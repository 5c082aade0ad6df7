"""The notebook, as it is run from top to bottom and as it is kept."""

import re

import nbformat
import pytest

from tests.docs.pages import PAGES, ROOT
from tests.docs.test_pages import load_script

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
}


@pytest.fixture(scope="module")
def kept():
    return nbformat.read(NOTEBOOK, as_version=4)


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts_of(cells):
    """What the cells printed."""
    return "".join(o.text for cell in cells for o in cell.outputs if o.output_type == "stream")


def test_it_runs_from_top_to_bottom_without_a_connection(tmp_path):
    notebook = load_script("notebook").run_notebook(tmp_path, **OFFLINE)
    said = texts_of(code_of(notebook))
    (score,) = re.findall(r"([\d.]+)% of 360 test digits are right", said)
    assert float(score) > 90
    assert (tmp_path / "inside" / "explain.html").is_file()
    assert (tmp_path / "folded.keras").is_file()


def test_what_is_kept_of_it_was_run_in_order_and_names_no_place_of_a_machine(kept):
    cells = code_of(kept)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {o.output_type for cell in cells for o in cell.outputs}
    assert "error" not in kinds
    assert "WARNING" not in texts_of(cells)
    assert sum("image/png" in o.get("data", {}) for c in cells for o in c.outputs) >= 4
    assert not re.search(r"/(home|work|root|tmp|Users)/", NOTEBOOK.read_text())


def test_what_it_links_to_is_there(kept):
    text = "".join(cell.source for cell in kept.cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    assert set(links) <= set(PAGES)
