"""What the reference implementations make of generated weights: tests/golden/parity.npz.

python tests/parity/reference.py tests/golden/parity.npz      in an environment with torch and timm

For every network: the digest of the names and shapes of its state dict, logits of two images at
each size that it accepts, and samples of the maps behind each stage. `tests/weights/test_parity.py`
compares ours with them, without torch.
"""

import functools
import pathlib
import sys

import numpy as np
import pretrainedmodels
import timm
import torch
import torchvision
from torchvision.models import resnet

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from tests.weights import generated

TIMM = (
    *("seresnet18", "seresnet34", "seresnet50", "seresnet101", "seresnet152"),
    *("seresnext50_32x4d", "seresnext101_32x4d", "seresnext101_64x4d", "seresnext101_32x8d"),
    *("senet154", "seresnet152d", "seresnext26d_32x4d", "seresnext26t_32x4d"),
    *("seresnext101d_32x8d", "seresnextaa101d_32x8d", "seresnextaa201d_32x8d"),
    *(f"legacy_seresnet{depth}" for depth in (18, 34, 50, 101, 152)),
    *("legacy_seresnext26_32x4d", "legacy_seresnext50_32x4d", "legacy_seresnext101_32x4d"),
    "legacy_senet154",
)
TORCHVISION = (
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
)
CADENE = ("se_resnet50", "se_resnext50_32x4d")
MOSKOMULE = {
    **{18: ("basic", (2, 2, 2, 2)), 34: ("basic", (3, 4, 6, 3)), 50: ("bottleneck", (3, 4, 6, 3))},
    **{101: ("bottleneck", (3, 4, 23, 3)), 152: ("bottleneck", (3, 8, 36, 3))},
}


class SELayer(torch.nn.Module):
    """Squeeze and excitation of two linear layers without bias."""

    def __init__(self, channels, ratio=16):
        super().__init__()
        self.fc = torch.nn.Sequential(
            torch.nn.Linear(channels, channels // ratio, bias=False),
            torch.nn.ReLU(),
            torch.nn.Linear(channels // ratio, channels, bias=False),
            torch.nn.Sigmoid(),
        )

    def forward(self, x):
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


def recalibrated(kind, last):
    """A block of torchvision whose last norm is followed by an `SELayer` called `se`."""

    class Block(kind):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.se = SELayer(getattr(self, last).num_features)

        def forward(self, x):
            hook = getattr(self, last).register_forward_hook(lambda m, i, out: self.se(out))
            try:
                return super().forward(x)
            finally:
                hook.remove()

    return Block


def moskomule(depth):
    """SE-ResNet on torchvision's ResNet, as moskomule/senet.pytorch has it."""
    kind, layers = MOSKOMULE[depth]
    basic = kind == "basic"
    base, last = (resnet.BasicBlock, "bn2") if basic else (resnet.Bottleneck, "bn3")
    block = recalibrated(base, last)
    return resnet.ResNet(block, list(layers), num_classes=generated.CLASSES)


def networks():
    """Name of each row and what builds it."""
    for name in TIMM:
        yield (
            f"timm {name}",
            functools.partial(
                timm.create_model, name, pretrained=False, num_classes=generated.CLASSES
            ),
        )
    for name in TORCHVISION:
        yield (
            f"torchvision {name}",
            functools.partial(
                torchvision.models.get_model, name, weights=None, num_classes=generated.CLASSES
            ),
        )
    for name in CADENE:
        yield (
            f"cadene {name}",
            functools.partial(
                getattr(pretrainedmodels, name), num_classes=generated.CLASSES, pretrained=None
            ),
        )
    for depth in MOSKOMULE:
        yield f"moskomule se_resnet{depth}", functools.partial(moskomule, depth)


def fill(model):
    """Give every array of a model the values of its name; names and shapes of all."""
    shapes = {}
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            shapes[name] = tuple(tensor.shape)
            tensor.copy_(torch.from_numpy(generated.values(name, shapes[name])))
    return shapes


def run(model, size):
    """Logits, and a sample of the maps behind each stage."""
    found = []
    stages = [getattr(model, f"layer{i}") for i in (1, 2, 3, 4)]
    hooks = [s.register_forward_hook(lambda m, i, out: found.append(out)) for s in stages]
    with torch.no_grad():
        logits = model(torch.from_numpy(generated.images(size).transpose(0, 3, 1, 2).copy()))
    for hook in hooks:
        hook.remove()
    maps = [generated.sample(out.permute(0, 2, 3, 1).numpy()) for out in found]
    return logits.numpy(), np.stack(maps)


def main(path):
    """Write the golden file."""
    golden = {}
    for name, build in networks():
        model = build().eval()
        golden[f"{name}: digest"] = np.array(generated.digest(fill(model)))
        for size in generated.SIZES:
            try:
                logits, maps = run(model, size)
            except RuntimeError as error:
                print(f"{name} refuses {size} pixels: {error}", flush=True)
                continue
            golden[f"{name}: {size} logits"] = logits
            golden[f"{name}: {size} maps"] = maps
        print(f"{name}: {np.ptp(logits, axis=0).max() / abs(logits).max():.2f}", flush=True)
    np.savez_compressed(path, **golden)


if __name__ == "__main__":
    main(sys.argv[1])
