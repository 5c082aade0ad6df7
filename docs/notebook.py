"""Run the notebook from top to bottom, and keep what it shows: `make tutorial`.

python docs/notebook.py     rewrites docs/tutorial.ipynb
"""

import os
import pathlib
import tempfile

import nbclient
import nbformat

NOTEBOOK = pathlib.Path(__file__).parent / "tutorial.ipynb"
TIMEOUT = 300
"""Seconds that a cell may take."""


def run_notebook(folder: str | os.PathLike, **settings: str) -> nbformat.NotebookNode:
    """The notebook as it was run in a folder, where its files stay.

    Args:
        folder: that is the current one of its programs.
        settings: variables of their environment.
    """
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    place = {"metadata": {"path": os.fspath(folder)}}
    client = nbclient.NotebookClient(
        notebook, timeout=TIMEOUT, record_timing=False, kernel_name="python3", resources=place
    )
    return client.execute(env=os.environ | settings)


def main() -> None:
    """Run it, and write it with what it printed and drew; what libraries complain of goes."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = run_notebook(folder)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    notebook.metadata = {name: notebook.metadata[name] for name in ("kernelspec", "language_info")}
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
