"""Networks inside of what people save: behind prefixes, beside other things, with other heads."""

import warnings

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import senet
from senet.weights import state_dicts
from tests.weights import generated, written
from tests.weights.written import Call, Name

TINY = dict(n_blocks=(1, 1, 1, 1), n_filters=(16, 16, 16, 16))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A small network with basic blocks, and its arrays with timm's names."""
    model = senet.create("se_resnet18", variant="torch", classes=5, **TINY)
    generated.fill(model)
    path = tmp_path_factory.mktemp("network") / "a.safetensors"
    senet.save(model, path, names="timm")
    return model, load_file(path)


def shifted(arrays):
    """The same network with other values."""
    return {name: array + 1 for name, array in arrays.items()}


def checkpoint(path, parts, **others):
    """A file of torch; `parts` are state dicts by the way to them."""
    storages, value = {}, {}
    for i, (way, arrays) in enumerate(parts.items()):
        made, stored = written.state({f"{way}{name}": array for name, array in arrays.items()})
        for call in made.values():
            reference = call.arguments[0]
            reference.value = (
                *reference.value[:2],
                f"{i}-{reference.value[2]}",
                *reference.value[3:],
            )
        storages |= {f"{i}-{key}": data for key, data in stored.items()}
        value |= made
    return written.torch_zip(path, nested(value) | others, storages)


def nested(flat):
    """Dicts in dicts: of `a/b.c` the part before the slash names one."""
    made = {}
    for name, value in flat.items():
        *way, last = name.split("/")
        inside = made
        for part in way:
            inside = inside.setdefault(part, {})
        inside[last] = value
    return made


def loaded(path, **options):
    """The network in a file, and what was warned."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        model = senet.load(path, **options)
    said = [str(w.message).removeprefix(f"{str(path)!r}: ") for w in caught]
    return model, [text for text in said if "__array__" not in text]


def same(first, second):
    pairs = zip(first.get_weights(), second.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


PREFIXES = (
    *("model.", "module.", "_orig_mod.", "backbone.", "timm_model.", "model.resnet.", "net."),
    *("state_dict/", "network/", "state_dict/module.", "a/b/c/d/e.f.g.h.", "_orig_mod.module."),
    *("model_state_dict/encoder.", "student/", "my-model.v2."),
)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_network_is_found_behind_any_prefix(tmp_path, network, prefix):
    model, arrays = network
    path = checkpoint(tmp_path / "a.pth", {prefix: arrays}, epoch=3)
    again, said = loaded(path)
    assert same(model, again)
    assert said == []


@pytest.mark.parametrize("prefix", ["", "model.", "a.b.c."])
def test_prefixes_of_safetensors_are_found(tmp_path, network, prefix):
    model, arrays = network
    save_file({prefix + name: array for name, array in arrays.items()}, tmp_path / "a.safetensors")
    again, said = loaded(tmp_path / "a.safetensors")
    assert same(model, again)
    assert said == []


@pytest.mark.parametrize("wrapper", ["_orig_mod.", "_fsdp_wrapped_module."])
def test_wrappers_between_the_parts_of_a_name_are_taken_away(tmp_path, network, wrapper):
    model, arrays = network
    inner = {name.replace(".0.", f".0.{wrapper}"): array for name, array in arrays.items()}
    assert same(model, loaded(checkpoint(tmp_path / "a.pth", {"model.": inner}))[0])


AVERAGED = {
    "ema/": "ema",
    "model_ema/": "model_ema",
    "state_dict_ema/": "state_dict_ema",
    "ema_state_dict/module.": "ema_state_dict.module",
    "state_dict/ema_model.module.": "state_dict.ema_model.module",
    "swa_model/": "swa_model",
    "averaged-model.": "averaged-model",
}


@pytest.mark.parametrize("averaged", AVERAGED)
@pytest.mark.parametrize("other", ["model/", "", "state_dict/model."])
def test_averaged_weights_are_taken_first_and_it_is_said(tmp_path, network, averaged, other):
    model, arrays = network
    parts = {other: shifted(arrays), averaged: arrays}
    again, said = loaded(checkpoint(tmp_path / "a.pth", parts))
    assert same(model, again)
    (line,) = said
    assert line.startswith(f"used the averaged weights under {AVERAGED[averaged]!r}; left out ")
    if other == "model/":
        assert line.endswith(f"left out model.* ({len(arrays)} arrays).")


def test_averages_of_parameters_alone_are_not_taken_for_a_network(tmp_path, network):
    """Many averages leave out the running statistics, without which they are no network."""
    model, arrays = network
    shadow = {name: array + 1 for name, array in arrays.items() if "running" not in name}
    path = checkpoint(tmp_path / "a.pth", {"ema/": shadow, "model/": arrays})
    again, said = loaded(path)
    assert same(model, again)
    assert said == [f"used the weights under 'model'; left out ema.* ({len(shadow)} arrays)."]
    path = checkpoint(tmp_path / "b.pth", {"ema/": shadow})
    with pytest.raises(senet.WeightsError, match=r"missing from the file:\n  bn1\.running_mean"):
        senet.load(path)


def test_everything_left_over_is_named_in_one_warning(tmp_path, network):
    model, arrays = network
    criterion = {"criterion.weight": np.ones(5, "float32"), "loss.scale": np.ones(1, "float32")}
    decoder = {f"decoder.{i}.weight": np.ones(2, "float32") for i in range(9)}
    counters = {"encoder.bn1.num_batches_tracked": np.array(3), "n_averaged": np.array(3)}
    parts = {"encoder.": arrays, "": criterion | decoder | counters}
    again, said = loaded(checkpoint(tmp_path / "a.pth", parts))
    assert same(model, again)
    assert said == [
        "used the weights under 'encoder'; left out criterion.weight, loss.scale, decoder.* (9 "
        "arrays)."
    ]
    again, said = loaded(checkpoint(tmp_path / "b.pth", {"": arrays | criterion | counters}))
    assert same(model, again)
    assert said == ["used the weights at its top; left out criterion.weight, loss.scale."]


def test_names_of_control_characters_are_escaped(tmp_path, network):
    _, arrays = network
    beside = {"a\x1b[31m\n": np.ones(1, "float32")}
    _, said = loaded(checkpoint(tmp_path / "a.pth", {"": arrays | beside}))
    assert said == [r"used the weights at its top; left out a\x1b[31m\n."]


def test_what_is_inside_of_the_network_is_not_left_out(tmp_path, network):
    """A network with further layers in its blocks or its stem is another network."""
    _, arrays = network
    for name in ("layer1.0.attention.weight", "layer2.gamma", "conv2.weight", "bn2.bias"):
        path = checkpoint(tmp_path / "a.pth", {"model.": arrays | {name: np.ones(3, "float32")}})
        with pytest.raises(senet.WeightsError, match=f"1 in the file and not .*:\n  {name}"):
            senet.load(path)


def test_of_several_networks_that_which_is_named_is_taken(tmp_path, network):
    model, arrays = network
    teacher = senet.create("resnet18", variant="torch", classes=3, **TINY)
    senet.save(teacher, tmp_path / "t.safetensors", names="timm")
    parts = {"teacher.": load_file(tmp_path / "t.safetensors"), "student.": arrays}
    path = checkpoint(tmp_path / "a.pth", parts)
    first, said = loaded(path)
    assert same(first, teacher)
    assert said == [f"used the weights under 'teacher'; left out student.* ({len(arrays)} arrays)."]
    with pytest.warns(UserWarning, match="'student'; left out teacher"):
        again = senet.create("se_resnet18", weights=path, classes=5, ratio=2, **TINY)
    assert same(again, model)


def test_a_head_behind_dropout_is_used(tmp_path, network):
    model, arrays = network
    for module in ("fc.1", "fc.linear", "fc.0.1"):
        moved = {name.replace("fc.weight", f"{module}.weight"): a for name, a in arrays.items()}
        moved = {name.replace("fc.bias", f"{module}.bias"): a for name, a in moved.items()}
        again, said = loaded(checkpoint(tmp_path / "a.pth", {"model.": moved}))
        assert again.output_shape == (None, 5)
        assert same(model, again)
        assert said == []


@pytest.mark.parametrize(
    "head",
    [
        {"fc.0.weight": (7, 16), "fc.0.bias": (7,), "fc.3.weight": (5, 7), "fc.3.bias": (5,)},
        {"fc.1.weight": (5, 17), "fc.1.bias": (5,)},
        {"fc.0.weight": (16,), "fc.0.bias": (16,), "fc.1.weight": (5, 16), "fc.1.bias": (5,)},
        {"fc.1.weight": (5, 16), "fc.1.bias": (4,)},
        {"fc.1.weight": (5, 16)},
        {"head.weight": (5, 16), "head.bias": (5,)},
    ],
)
def test_a_head_that_is_no_classifier_of_ours_is_named(tmp_path, network, head):
    _, arrays = network
    trunk = {name: array for name, array in arrays.items() if not name.startswith("fc.")}
    made = {name: np.ones(shape, "float32") for name, shape in head.items()}
    path = checkpoint(tmp_path / "a.pth", {"": trunk | made})
    again, said = loaded(path)
    assert again.output_shape[-1] == 16
    assert len(again.output_shape) == 4
    assert said == [f"used the weights at its top; left out {', '.join(head)}."]
    _, said = loaded(path, classes=4)
    assert len(said) == 2
    assert "has no classifier" in said[0]


def test_only_the_own_classifier_is_left_out_in_silence(tmp_path, network):
    _, arrays = network
    path = checkpoint(tmp_path / "a.pth", {"": arrays})
    assert loaded(path, include_top=False)[1] == []
    path = checkpoint(tmp_path / "b.pth", {"": arrays | {"fc.scale": np.ones(5, "float32")}})
    assert loaded(path, include_top=False)[1] == ["used the weights at its top; left out fc.scale."]


def test_a_file_without_scheme_says_what_it_has_and_what_is_expected(tmp_path):
    arrays = {f"blocks.{i}.weight": np.ones(2, "float32") for i in range(6)}
    path = checkpoint(tmp_path / "a.pth", {"network/": arrays}, epoch=1)
    with pytest.raises(senet.WeightsError) as caught:
        senet.load(path)
    message = str(caught.value)
    assert "expected, behind any prefix, layer1.0.conv1.weight beside conv1.weight" in message
    assert "It is a dict of network, epoch." in message
    assert "Its arrays are network.* (6 arrays)." in message
    with pytest.raises(senet.WeightsError, match="holds no state dict, but a dict of epoch, best"):
        senet.load(checkpoint(tmp_path / "b.pth", {}, epoch=1, best=2))


def test_arrays_that_the_network_needs_and_cannot_be_read_are_named(tmp_path, network):
    _, arrays = network
    path = checkpoint(
        tmp_path / "a.pth", {"": {n: a for n, a in arrays.items() if n != "bn1.bias"}}
    )
    broken = written.tensor(written.storage("ComplexFloat", "0-0", 2), (2,))
    made, storages = written.state({n: a for n, a in arrays.items() if n != "bn1.bias"})
    path = written.torch_zip(tmp_path / "a.pth", made | {"bn1.bias": broken, "x": broken}, storages)
    with pytest.raises(senet.WeightsError) as caught:
        senet.load(path)
    assert "1 that cannot be read:\n  bn1.bias: a tensor is of torch.Complex" in str(caught.value)
    made, storages = written.state(arrays)
    path = written.torch_zip(tmp_path / "b.pth", made | {"x": broken}, storages)
    (line,) = loaded(path)[1]
    assert line.startswith("used the weights at its top; left out x. What cannot be read of it is")


@pytest.mark.parametrize("lost", ["weight", "bias", "both"])
@pytest.mark.parametrize("how", ["unread", "absent"])
def test_a_classifier_that_cannot_be_read_is_named(tmp_path, network, lost, how):
    _, arrays = network
    names = [f"fc.{part}" for part in ("weight", "bias") if lost in (part, "both")]
    if (how, lost) == ("absent", "both"):
        return
    left = {name: array for name, array in arrays.items() if name not in names}
    made, storages = written.state(left)
    storages["broken"] = bytes(16)
    broken = written.tensor(written.storage("ComplexFloat", "broken", 2), (2,))
    made |= dict.fromkeys(names, broken) if how == "unread" else {}
    path = written.torch_zip(tmp_path / "a.pth", made, storages)
    if "fc.weight" not in names:  # the network has a classifier, which lacks something
        with pytest.raises(
            senet.WeightsError, match=r"1 (that cannot be read|missing .*):\n  fc\.bias"
        ):
            senet.load(path)
        return
    model, said = loaded(path)
    assert len(model.output_shape) == 4
    (line,) = said
    assert "left out fc." in line
    assert ("What cannot be read of it is fc.weight: a tensor is of" in line) == (how == "unread")
    if how == "unread":
        with pytest.raises(senet.WeightsError, match=r"that cannot be read:\n  fc\.weight"):
            senet.load(path, classes=5)


def test_a_head_that_was_moved_is_named_where_no_classifier_is_asked_for(tmp_path, network):
    _, arrays = network
    moved = {name.replace("fc.", "fc.1."): array for name, array in arrays.items()}
    _, said = loaded(checkpoint(tmp_path / "a.pth", {"": moved}), include_top=False)
    assert said == ["used the weights at its top; left out fc.1.weight, fc.1.bias."]


def test_of_two_networks_that_nearest_to_the_top_is_taken(tmp_path, network):
    model, arrays = network
    parts = {f"aux.net.{name}": array + 1 for name, array in arrays.items()} | arrays
    save_file(parts, tmp_path / "a.safetensors")
    assert same(model, loaded(tmp_path / "a.safetensors")[0])


def test_averaged_weights_behind_many_others_are_found():
    names = [f"m{i}.{n}" for i in range(40) for n in (state_dicts.FIRST, state_dicts.STATISTICS)]
    names += [f"average_model_state.{n}" for n in (state_dicts.FIRST, state_dicts.STATISTICS)]
    assert state_dicts.find_state_dicts(names)[0].prefix == "average_model_state."


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"fc.weight": ()}, "fc.weight should be a matrix"),
        ({"layer4.0.se.fc1.weight": (8,)}, "should be a matrix, but its shape"),
        ({"None.weight": (1,)}, ""),
    ],
)
def test_arrays_of_other_ranks_are_named(tmp_path, network, changes, reason):
    _, arrays = network
    made = {name: np.zeros(shape, "float32") for name, shape in changes.items()}
    path = checkpoint(tmp_path / "a.pth", {"": arrays | made})
    if not reason:
        assert loaded(path)[1] == ["used the weights at its top; left out None.weight."]
        return
    with pytest.raises(senet.WeightsError, match=reason):
        senet.load(path)


def test_an_array_that_tells_the_network_and_cannot_be_read_is_named(tmp_path, network):
    _, arrays = network
    for name in ("conv1.weight", "layer1.0.conv1.weight", "layer4.0.conv2.weight"):
        left = {n: array for n, array in arrays.items() if n != name}
        made, storages = written.state(left)
        storages["broken"] = bytes(16)
        made[name] = written.tensor(written.storage("ComplexFloat", "broken", 2), (2,))
        path = written.torch_zip(tmp_path / "a.pth", made, storages)
        with pytest.raises(senet.WeightsError, match=f"(its array {name}|  {name}.*)"):
            senet.load(path)


def test_a_whole_model_is_read_without_its_classes(tmp_path, network):
    model, arrays = network
    made, storages = written.state(arrays)

    def module(tensors, name="Layer"):
        parts = dict(_parameters={}, _buffers={}, _modules={}, training=True)
        inside = {}
        for way, tensor in tensors.items():
            first, _, rest = way.partition(".")
            if rest:
                inside.setdefault(first, {})[rest] = tensor
            else:
                parts["_buffers" if "running" in first else "_parameters"][first] = tensor
        parts["_modules"] = {key: module(within) for key, within in inside.items()}
        return Call(f"somewhere.models {name}", (), parts)

    whole = Call("__main__ Trainer", (), {"net": module(made, "Net"), "act": Name("x.y relu")})
    again, said = loaded(written.torch_zip(tmp_path / "a.pt", whole, storages))
    assert same(model, again)
    assert said == []


def test_a_hundred_thousand_names_and_networks_cost_little():
    names = [f"{i}.{state_dicts.FIRST}" for i in range(50_000)]
    assert len(state_dicts.find_state_dicts(names)) == state_dicts.MOST
    assert "50,000" not in state_dicts.summarise(names)
