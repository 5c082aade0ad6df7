"""Rewrite the generated tables of the README, each between a pair of markers.

python docs/tables.py           write
python docs/tables.py --check   exit with 1 if a table is out of date
"""

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).parent.parent
README = ROOT / "README.md"
GOLDEN = ROOT / "tests" / "golden" / "parameters.json"


def parameters() -> str:
    """Trainable parameters of the family, from the file that the tests compare with."""
    counts = json.loads(GOLDEN.read_text())["counts"]
    rows = [
        "| network | `seed` | `caffe`, `torch` | plain twin | |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, variants in counts.items():
        if name.startswith("se_"):
            plain = counts[name.removeprefix("se_")]["seed"]
            rows.append(
                f"| `{name}` | {variants['seed']:,} | {variants['torch']:,} | {plain:,} "
                f"| +{variants['seed'] / plain - 1:.1%} |"
            )
    return "\n".join(rows)


TABLES = {"parameters": parameters}


def rewritten(text: str) -> str:
    """The README with every generated table brought up to date."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}: generated -->\n", f"<!-- /{name} -->\n"
        if (text.count(begin), text.count(end)) != (1, 1):
            raise ValueError(f"README.md must have one place for the table {name!r}: {begin}{end}")
        before, rest = text.split(begin)
        _, after = rest.split(end)
        text = f"{before}{begin}{table()}\n{end}{after}"
    return text


def main() -> int:
    """Write or check; the exit code."""
    text = README.read_text()
    new = rewritten(text)
    if "--check" in sys.argv:
        return int(new != text)
    README.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
