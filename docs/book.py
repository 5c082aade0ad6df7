"""Build the book for a browser, and check its links: `make docs`.

python docs/book.py     writes site/, from docs/ and the notebook in it
"""

import html.parser
import pathlib
import shutil
import subprocess
import sys
import urllib.parse

import nbconvert

ROOT = pathlib.Path(__file__).parent.parent
BOOK = ROOT / "build" / "book"
SITE = ROOT / "site"
NOTEBOOK = "tutorial.ipynb"


def main() -> int:
    """Build, without a warning; the exit code."""
    gather()
    build = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    built = subprocess.run(build, cwd=ROOT, check=False, stderr=subprocess.STDOUT)
    if built.returncode:
        return built.returncode
    broken = find_broken_links(SITE)
    for line in broken:
        print(line, file=sys.stderr)
    if not broken:
        print(f"{SITE / 'index.html'}: no broken links in {len(list(SITE.glob('*.html')))} pages")
    return int(bool(broken))


def gather() -> None:
    """Copy what the pages are made of, with the notebook as one of them."""
    shutil.rmtree(BOOK, ignore_errors=True)
    shutil.copytree(ROOT / "docs" / "images", BOOK / "images")
    for page in (ROOT / "docs").glob("*.md"):
        text = page.read_text(encoding="utf-8").replace(f"({NOTEBOOK})", "(tutorial.md)")
        (BOOK / page.name).write_text(text, encoding="utf-8")
    text, files = nbconvert.MarkdownExporter().from_filename(str(ROOT / "docs" / NOTEBOOK))
    (BOOK / "tutorial.md").write_text(text, encoding="utf-8")
    for name, data in files["outputs"].items():
        (BOOK / name).write_bytes(data)


class Page(html.parser.HTMLParser):
    """What a page links to, and the places in it that others may link to."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep `href`, `src`, `id` and `name` of a tag."""
        for key, value in attrs:
            if key in ("id", "name") and value:
                self.places.add(value)
            elif key == "src" or (key == "href" and tag == "link"):
                self.loaded.append(value or "")
            elif key == "href" and value:
                self.links.append(value)


def find_broken_links(site: pathlib.Path) -> list[str]:
    """Links within a folder of pages that lead nowhere, a line each.

    Links to other machines are not followed, but what a page loads by itself, a script, a style or
    a picture, must be a file of the folder: the pages are to be read from a disk.
    """
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # a server shows it under any address
        for link in page.links + page.loaded:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                if link in page.loaded:
                    broken.append(f"{path.name}: {link}: is loaded from another machine")
                continue
            target = (path.parent / urllib.parse.unquote(parts.path)).resolve()
            target = target if parts.path else path.resolve()
            if not target.is_file():
                broken.append(f"{path.name}: {link}: no such file")
            elif parts.fragment and target in pages and parts.fragment not in pages[target].places:
                broken.append(f"{path.name}: {link}: no such place on the page")
    return broken


if __name__ == "__main__":
    sys.exit(main())
