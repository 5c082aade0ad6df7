"""Put the run of the first page into the book: `make start`.

python docs/start.py RUN     with the Chromium that the system has
"""

import json
import pathlib
import shutil
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).parent.parent
KEPT = ROOT / "evidence" / "start.json"
PICTURE = ROOT / "docs" / "images" / "report.png"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1100, 930
"""Of the part of the report that is shown, pixels."""
SCORES = ("model", "epochs", "seconds", "split", "images", "top1", "top5", "baseline")


def main(run: pathlib.Path) -> int:
    """Keep the numbers that the tables need, and take a picture of the report."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"None of {', '.join(BROWSERS)} is there to draw the report.", file=sys.stderr)
        return 1
    numbers = summarise_run(run)
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}"]
    page = (run / "report.html").resolve().as_uri()
    subprocess.run(
        [browser, *options, f"--screenshot={PICTURE}", page], check=True, stderr=subprocess.DEVNULL
    )
    KEPT.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    return 0


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
    sys.exit(main(pathlib.Path(sys.argv[1])))
