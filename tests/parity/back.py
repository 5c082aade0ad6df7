"""Networks of ours, written under foreign names, in the implementations that those belong to.

python tests/parity/back.py write FOLDER       with senet: files and our logits
python tests/parity/back.py compare FOLDER     with timm: its logits beside ours
"""

import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from tests.weights import generated

NETWORKS = {
    # timm's name: names to write, our network, variant
    "seresnet18": ("timm", "se_resnet18", "torch"),
    "seresnet50": ("timm", "se_resnet50", "torch"),
    "seresnext50_32x4d": ("timm", "se_resnext50_32x4d", "seed"),
    "senet154": ("timm", "senet154", "torch"),
    "seresnext26t_32x4d": ("timm", "se_resnext26t_32x4d", "torch"),
    "seresnextaa101d_32x8d": ("timm", "se_resnextaa101d_32x8d", "torch"),
    "resnet50": ("timm", "resnet50", "torch"),
    "legacy_seresnet50": ("caffe", "se_resnet50", "caffe"),
    "legacy_seresnext50_32x4d": ("caffe", "se_resnext50_32x4d", "caffe"),
}


def write(folder):
    """A file for each network, and the logits of ours."""
    import senet

    for name, (names, network, variant) in NETWORKS.items():
        options = dict(input_shape=(224, 224, 3), classifier_activation=None)
        model = senet.create(network, variant=variant, classes=generated.CLASSES, **options)
        generated.fill(model)
        senet.save(model, folder / f"{name}.safetensors", names=names)
        np.save(folder / f"{name}.npy", model.predict_on_batch(generated.images(224)))


def compare(folder):
    """Load every file in timm, strictly, and compare the logits."""
    import safetensors.torch
    import timm
    import torch

    images = torch.from_numpy(generated.images(224).transpose(0, 3, 1, 2).copy())
    worst = 0.0
    for name in NETWORKS:
        model = timm.create_model(name, num_classes=generated.CLASSES).eval()
        model.load_state_dict(safetensors.torch.load_file(folder / f"{name}.safetensors"))
        with torch.no_grad():
            logits = model(images).numpy()
        ours = np.load(folder / f"{name}.npy")
        difference = abs(logits - ours).max() / abs(logits).max()
        worst = max(worst, difference)
        print(f"{name:<28}{difference:.1e}", flush=True)
    return worst <= 1e-4


if __name__ == "__main__":
    action, where = sys.argv[1], pathlib.Path(sys.argv[2])
    sys.exit(write(where) if action == "write" else not compare(where))
