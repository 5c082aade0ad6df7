"""Put the run of the first page into the book: `make start`.

python docs/start.py RUN     with the Chromium that the system has
"""

import json
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1100, 930
"""Of the part of the report that is shown, pixels."""
KEPT = ("model", "epochs", "seconds", "split", "images", "top1", "top5", "baseline")


def main(run: pathlib.Path) -> int:
    """Keep the numbers that the tables need, and take a picture of the report."""
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    began = json.loads((run / "run.json").read_text(encoding="utf-8"))
    numbers = {name: result[name] for name in KEPT}
    numbers["data"] = pathlib.Path(result["data"]).name  # where it lay is nobody's business
    numbers["size"] = began["recipe"]["size"]
    numbers["trained_on"] = sum(split["train"] for split in result["images_per_class"].values())
    numbers["machine"] = began["machine"]
    kept = ROOT / "evidence" / "start.json"
    kept.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"no picture: none of {', '.join(BROWSERS)} is installed", file=sys.stderr)
        return 1
    picture = ROOT / "docs" / "images" / "report.png"
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}"]
    page = (run / "report.html").resolve().as_uri()
    subprocess.run(
        [browser, *options, f"--screenshot={picture}", page], check=True, stderr=subprocess.DEVNULL
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
