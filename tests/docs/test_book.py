"""The book as pages for a browser."""

import shutil
import subprocess
import sys

import pytest

from tests.docs.pages import PAGES, README, ROOT
from tests.docs.test_pages import load_script


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """What `make docs` does in a copy of the repository, and the copy."""
    copy = tmp_path_factory.mktemp("repository")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("docs", "senet"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    shutil.copyfile(ROOT / "mkdocs.yml", copy / "mkdocs.yml")
    command = [sys.executable, "docs/book.py"]
    return subprocess.run(command, cwd=copy, capture_output=True, text=True), copy


def test_it_is_built_without_a_warning_and_without_broken_links(built):
    done, copy = built
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "warning" not in said.lower()
    pages = {page.stem for page in PAGES.values() if page != README} | {"tutorial", "404"}
    assert {path.stem for path in (copy / "site").glob("*.html")} == pages
    assert f"no broken links in {len(pages)} pages" in said


def test_the_reference_has_the_docstrings(built):
    _, copy = built
    reference = (copy / "site" / "reference.html").read_text()
    assert 'id="senet.create"' in reference
    assert "Squeeze, <code>z_c = mean over H, W of x_c</code>" in reference
    assert 'id="senet.Preprocessing.of_values"' in reference


@pytest.mark.parametrize(
    ("link", "found"),
    [
        ('<a href="other.html">', []),
        ('<a href="other.html#place">', []),
        ('<a href="#here"><p id="here">', []),
        ('<a href="https://example.org/gone">', []),
        ('<a href="gone.html">', ["page.html: gone.html: no such file"]),
        ('<img src="gone.png">', ["page.html: gone.png: no such file"]),
        ('<a href="other.html#gone">', ["page.html: other.html#gone: no such place on the page"]),
        ('<img src="data:image/png;base64,AAAA">', []),
        (
            '<script src="https://example.org/x.js">',
            ["page.html: https://example.org/x.js: is loaded from another machine"],
        ),
        (
            '<link rel="stylesheet" href="//example.org/x.css">',
            ["page.html: //example.org/x.css: is loaded from another machine"],
        ),
        ('<a href="#gone">', ["page.html: #gone: no such place on the page"]),
    ],
)
def test_a_broken_link_is_found(tmp_path, link, found):
    (tmp_path / "page.html").write_text(f"<html>{link}</html>")
    (tmp_path / "other.html").write_text('<h1 id="place">')
    assert load_script("book").find_broken_links(tmp_path) == found
