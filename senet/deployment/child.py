"""The process in which TensorFlow writes a network of another backend: `writing.py` starts it."""

import json
import pathlib
import sys

from senet.quiet import hush

NETWORK, REQUEST, ANSWER = "network.keras", "request.json", "answer.json"
"""Files between the two processes, in a folder that the parent makes and removes."""

KINDS = (MemoryError, OSError)
"""Errors that say nothing against the network."""


def main(folder: str) -> None:
    """Write the network in a folder as the request beside it says, and answer.

    Args:
        folder: with `NETWORK` and `REQUEST`; `ANSWER` is written there, with the name of the file
            for the runtime, or with the reason why there is none.
    """
    hush()
    import keras

    from senet.deployment.formats import FORMATS
    from senet.deployment.writing import name_reason

    between = pathlib.Path(folder)
    request = json.loads((between / REQUEST).read_text("utf-8"))
    written, names = pathlib.Path(request["folder"]), tuple(request["class_names"])
    try:
        graph = keras.saving.load_model(between / NETWORK, compile=False)
        answer = dict(file=FORMATS[request["format"]].write(graph, written, names))
    except Exception as error:  # each converter has exceptions of its own
        kinds = [kind for kind in KINDS if isinstance(error, kind)]
        answer = dict(error=name_reason(error), kind=kinds[0].__name__ if kinds else "")
    (between / ANSWER).write_text(json.dumps(answer), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
