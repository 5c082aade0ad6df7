"""The process in which TensorFlow writes a network of another backend: `writing.py` starts it."""

import json
import pathlib
import sys
from typing import Any

from senet.errors import CapacityError, name_reason, one_family
from senet.quiet import hush

NETWORK, REQUEST, ANSWER = "network.keras", "request.json", "answer.json"
"""Files between the two processes, in a folder that the parent makes and removes."""
MEMORY, SYSTEM, LOADING = "memory", "system", "loading"
"""What may go wrong that says nothing against the network."""


def main(folder: str) -> None:
    """Write the network in a folder as the request beside it says, and answer.

    Args:
        folder: with `NETWORK` and `REQUEST`; `ANSWER` is written there, with the name of the file
            for the runtime, or with the reason why there is none.
    """
    hush()
    between = pathlib.Path(folder)
    request = json.loads((between / REQUEST).read_text("utf-8"))
    (between / ANSWER).write_text(json.dumps(_answer(between, request)), "utf-8")


def _answer(between: pathlib.Path, request: dict[str, Any]) -> dict[str, str]:
    import keras

    from senet.deployment.formats import FORMATS

    try:
        graph = keras.saving.load_model(between / NETWORK, compile=False)
    except Exception as error:
        return dict(error=name_reason(error), kind=LOADING)
    folder, names = pathlib.Path(request["folder"]), tuple(request["class_names"])
    try:
        with one_family():
            return dict(file=FORMATS[request["format"]].write(graph, folder, names))
    except CapacityError as error:
        return dict(error=name_reason(error), kind=MEMORY)
    except (OSError, ImportError) as error:
        return dict(error=name_reason(error), kind=SYSTEM)
    except Exception as error:  # each converter has exceptions of its own
        return dict(error=name_reason(error), kind="")


if __name__ == "__main__":
    main(sys.argv[1])
