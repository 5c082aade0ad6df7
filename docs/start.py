"""Put the numbers of the run of the first page into the book: `make start`.

python docs/start.py RUN
"""

import json
import pathlib
import sys
from typing import Any

ROOT = pathlib.Path(__file__).parent.parent
KEPT = ROOT / "evidence" / "start.json"
SCORES = ("model", "epochs", "seconds", "split", "images", "top1", "top5", "baseline")


def main(run: pathlib.Path) -> None:
    """Keep the numbers that the tables need."""
    KEPT.write_text(json.dumps(summarise_run(run), indent=1) + "\n", encoding="utf-8")


def summarise_run(run: pathlib.Path) -> dict[str, Any]:
    """What a run folder says of its run, without the place where its images lay."""
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    began = json.loads((run / "run.json").read_text(encoding="utf-8"))
    if result["interrupted"]:
        raise ValueError(f"The run was interrupted: senet train --resume {run}")
    return dict(
        **{name: result[name] for name in SCORES},
        data=pathlib.Path(result["data"]).name,
        size=began["recipe"]["size"],
        trained_on=sum(split["train"] for split in result["images_per_class"].values()),
        machine=began["machine"],
    )


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
