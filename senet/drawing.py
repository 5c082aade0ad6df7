"""Diagrams of a network, with shapes and parameter counts read from the built model."""

import itertools
import os
import pathlib
import re

import keras
from keras import layers

from senet.errors import InputError
from senet.graph import inbound
from senet.models.complexity import complexity
from senet.plotting.diagrams import Box, Diagram, draw_diagrams
from senet.plotting.style import FAINT, FRESH, PLAIN, WARM, both

SE, MERGE, DATA = WARM, FRESH, FAINT
"""Faces of what squeezes and excites, of what joins two ways, and of what is no layer."""
ROLES = re.compile(r"(.+?)_(pad|conv|bn|relu|pool|antialias)$")


def draw(model: keras.Model, folder: str | os.PathLike) -> list[pathlib.Path]:
    """Draw a named network: its macro-architecture and its micro-architecture.

    `NAME-macro` has the whole network and its first group; `NAME-micro` has a projection block, an
    identity block and a squeeze-and-excitation block, as far as the network has them. Shapes and
    counts are those of the model.

    Args:
        model: from `senet.create`, with a fixed input size.
        folder: where the files go; it is made if it is missing.

    Returns:
        Paths of the SVG and PNG files.

    Raises:
        ValueError: the model has no stages to draw.

    Example:
        >>> [path.name for path in draw(senet.create("se_resnet50"), "pictures")]
        ['se_resnet50-macro.svg', 'se_resnet50-macro.png', 'se_resnet50-micro.svg',
         'se_resnet50-micro.png']
    """
    folder = pathlib.Path(folder)
    whole = complexity(model)
    costs = {cost.name: cost for cost in whole.layers}
    blocks = _blocks(costs)
    if not blocks:
        raise InputError(f"{model.name!r} has no stages: draw a network made by senet.create.")
    sources = inbound(model)
    stage = blocks[0][: blocks[0].index("_")]
    macro = [_macro(model, whole.by_group()), _group(stage, blocks, costs, sources)]
    shown = [_first(blocks, costs, True), _first(blocks, costs, False)]
    micro = [_block(model, block, costs, sources) for block in shown if block]
    squeezes = [block for block in [*shown[::-1], *blocks] if f"{block}_se_scale" in costs]
    if squeezes:
        micro.append(_squeeze_excite(model, f"{squeezes[0]}_se_", costs, sources))
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[pathlib.Path] = []
    for part, pictures in (("macro", macro), ("micro", micro)):
        files = both(folder / f"{model.name}-{part}.png")
        draw_diagrams(pictures, files)
        paths += files
    return paths


def _input(names, costs, sources):
    """The box of what comes in to a part of the network: the first source outside of it."""
    outside = (s for name in names for s in sources[name] if s not in names)
    return Box("x", "", _note([costs[next(outside)]]).split("\n")[0], DATA)


def _macro(model, groups):
    boxes = {}
    for group, members in groups.items():
        detail = ""
        if group.startswith("stage"):
            n = len({layer.name.split("_")[1] for layer in members})
            detail = f"group of {n} block{'s' if n > 1 else ''}"
        elif group == "stem":
            detail = ", ".join(_stem(model, members))
        elif group == "final":
            detail = "norm, ReLU"
        elif group == "classifier":
            detail = "global average pooling, dense"
        colour = DATA if group == "image" else PLAIN
        boxes[group] = Box(group, detail, _note(members), colour)
    return Diagram(model.name, boxes, list(itertools.pairwise(boxes)))


def _stem(model, members):
    """The convolutions and the pooling of the stem in a few words."""
    for member in members:
        match model.get_layer(member.name):
            case layers.Conv2D() as layer:
                stride = f" / {layer.strides[0]}" if layer.strides[0] > 1 else ""
                yield f"{layer.kernel_size[0]} x {layer.kernel_size[1]}{stride}"
            case layers.MaxPooling2D() as layer:
                yield f"max pool / {layer.strides[0]}"
            case layers.AveragePooling2D() as layer:
                yield f"average pool / {layer.strides[0]}"


def _group(stage, blocks, costs, sources):
    inside = [name for name in costs if name.startswith(f"{stage}_")]
    boxes = {"x": _input(inside, costs, sources)}
    for block in blocks:
        if block.startswith(f"{stage}_"):
            members = [layer for layer in costs.values() if layer.name.startswith(f"{block}_")]
            kind = "projection_block" if f"{block}_projection_conv" in costs else "identity_block"
            boxes[block] = Box(kind, block, _note(members))
    return Diagram(f"a group ({stage})", boxes, list(itertools.pairwise(boxes)))


def _block(model, block, costs, sources):
    """A residual block: layers of one role are one box."""
    role_of, members = {}, {}
    for name in costs:
        if name.startswith(f"{block}_"):
            part = name.removeprefix(f"{block}_")
            role = "se" if part.startswith("se_") else part
            if role in ("add", "relu"):
                role = "add"
            elif match := ROLES.match(role):
                role = match[1]
            role_of[name] = role
            members.setdefault(role, []).append(name)
    arrows = {
        (role_of.get(source, "x"), role)
        for name, role in role_of.items()
        for source in sources[name]
        if role_of.get(source, "x") != role
    }
    boxes = {"x": _input(list(role_of), costs, sources)}
    for role, names in members.items():
        text, detail, colour = _describe(model, role, names)
        boxes[role] = Box(text, detail, _note([costs[name] for name in names]), colour)
    kind = "projection" if "projection" in boxes else "identity"
    order = list(boxes)
    arrows = sorted(arrows, key=lambda arrow: (order.index(arrow[1]), order.index(arrow[0])))
    return Diagram(f"{kind} block ({block})", _in_order(boxes, arrows), arrows)


def _describe(model, role, names):
    """Text, detail and colour of the box of a role."""
    parts = [model.get_layer(name) for name in names]
    if role == "se":
        return "squeeze_excite_block", "", SE
    if role == "add":
        relu = any(isinstance(part, layers.ReLU) for part in parts)
        return "add", "ReLU" if relu else "", MERGE
    text, detail = role, []
    for part in parts:
        match part:
            case layers.Conv2D():
                text = f"{part.kernel_size[0]} x {part.kernel_size[1]} convolution, {part.filters}"
                detail += [f"stride {part.strides[0]}"] if part.strides != (1, 1) else []
                detail += [f"{part.groups} groups"] if part.groups > 1 else []
            case layers.BatchNormalization():
                detail.append("norm")
            case layers.ReLU():
                detail.append("ReLU")
            case layers.AveragePooling2D():
                detail.append("average pooling")
    if text == role and detail:
        text, *detail = detail
    return text, ", ".join(detail), PLAIN


def _squeeze_excite(model, prefix, costs, sources):
    texts = {
        "squeeze": ("global average pooling", "squeeze"),
        "reduce": ("dense, ReLU", "excitation"),
        "excite": ("dense, sigmoid", "excitation: the gate"),
        "scale": ("multiply", "scale"),
    }
    names = [n for n in (prefix + part for part in texts) if n in costs]
    boxes = {"x": _input(names, costs, sources)}
    for name in names:
        text, detail = texts[name.removeprefix(prefix)]
        layer = model.get_layer(name)
        if isinstance(layer, layers.GlobalMaxPooling2D):
            text = "global max pooling"
        elif isinstance(layer, layers.Conv2D):
            text = f"1 x 1 convolution, {layer.activation.__name__}"
        elif isinstance(layer, layers.Dense):
            activation = layer.activation.__name__
            text = f"dense, {'ReLU' if activation == 'relu' else activation}"
        colour = DATA if name.endswith("scale") else SE
        boxes[name] = Box(text, detail, _note([costs[name]]), SE if colour == SE else MERGE)
    chain = list(itertools.pairwise(boxes))
    block = prefix.removesuffix("_se_")
    return Diagram(f"squeeze_excite_block ({block})", boxes, [*chain, ("x", names[-1])])


def _note(members):
    shape = " x ".join(map(str, members[-1].output_shape))
    parameters = sum(layer.trainable_parameters for layer in members)
    return f"{shape}\n{parameters:,} parameters" if parameters else shape


def _blocks(costs):
    """Names of the blocks, `stage1_block1` and so on, in order."""
    found = (re.match(r"stage\d+_block\d+", name) for name in costs)
    return list(dict.fromkeys(match[0] for match in found if match))


def _first(blocks, costs, projects):
    """The first block that has, or has not, a projection; a strided one where there is one."""
    chosen = [block for block in blocks if (f"{block}_projection_conv" in costs) == projects]
    return next((b for b in chosen if not b.startswith("stage1_")), None) or next(
        iter(chosen), None
    )


def _in_order(boxes, arrows):
    """The boxes so that each comes after those that feed it."""
    ordered, left = {}, dict(boxes)
    while left:
        for name in list(left):
            if all(a in ordered for a, b in arrows if b == name):
                ordered[name] = left.pop(name)
    return ordered
