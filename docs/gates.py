"""Put what `senet explain` wrote of two runs into the documentation: `make gates`.

python docs/gates.py FOLDER     with FOLDER/digits-inside and FOLDER/clothing-inside
"""

import json
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).parent.parent
RUNS = ("digits", "clothing")
PICTURES = ("profile", "classes", "within")


def main(folder: pathlib.Path) -> None:
    """Copy the pictures, and of the numbers those that the tables of the page need."""
    for run in RUNS:
        written = folder / f"{run}-inside"
        if json.loads((folder / run / "result.json").read_text(encoding="utf-8"))["interrupted"]:
            raise ValueError(f"The run was interrupted: senet train --resume {folder / run}")
        for name in PICTURES:
            shutil.copyfile(
                written / f"{name}.svg", ROOT / "docs" / "images" / f"gates-{run}-{name}.svg"
            )
        numbers = json.loads((written / "gates.json").read_text(encoding="utf-8"))
        del numbers["curves"]
        numbers["data"] = pathlib.Path(numbers["data"]).name  # where it lay is nobody's business
        kept = ROOT / "evidence" / "gates" / f"{run}.json"
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
