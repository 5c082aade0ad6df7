"""Write senet/weights/imagenet_classes.json: WordNet id and first lemma of each class.

python tests/parity/imagenet_classes.py senet/weights/imagenet_classes.json

In an environment with timm, whose tables come from WordNet (Princeton) and ILSVRC 2012.
"""

import importlib.resources
import json
import sys


def main(path):
    """Read timm's tables and write ours, one class a line."""
    tables = importlib.resources.files("timm.data._info")
    synsets = (tables / "imagenet_synsets.txt").read_text().split()
    lemmas = dict(
        line.split("\t")
        for line in (tables / "imagenet_synset_to_lemma.txt").read_text().splitlines()
    )
    rows = [[synset, lemmas[synset].split(",")[0].strip().replace(" ", "_")] for synset in synsets]
    with open(path, "w") as file:
        file.write("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")


if __name__ == "__main__":
    main(sys.argv[1])
