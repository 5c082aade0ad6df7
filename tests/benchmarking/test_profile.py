"""Where the time of a step goes: `benchmarks/profile_step.py` and what it asks of a contestant."""

import importlib
import json
import os
import subprocess
import sys

import pytest

import senet
from tests.docs.pages import ROOT

CONTESTANTS = ROOT / "benchmarks" / "contestants"


@pytest.fixture
def scripts(monkeypatch):
    """The two modules."""
    for folder in (ROOT / "benchmarks", CONTESTANTS):
        monkeypatch.syspath_prepend(folder)
    names = "profile_step", "operations"
    for name in (*names, "peers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    found = [importlib.import_module(name) for name in names]
    yield found
    for name in (*names, "peers"):
        sys.modules.pop(name, None)


def test_an_operation_has_its_own_time_and_not_that_of_those_within(scripts):
    _, operations = scripts
    second = 10**12
    thread = [
        (0, 10 * second, "ExecutorState::Run", {}),  # no operation
        (0, 10 * second, "cond:If", {}),
        (1 * second, 4 * second, "cond/sgd/Mul_1:Mul", {}),
        (2 * second, 3 * second, "cond/sgd/Mul_2:Mul", {}),
        (5 * second, 9 * second, operations.CALLED, dict(name="net/tail", kernel_type="Call")),
        (6 * second, 7 * second, "fusion.1", {"hlo_module": "a_inference__of_maps_40__.4"}),
        (11 * second, 12 * second, "cond/sgd/Mul_1:Mul", {}),
    ]
    other = [(0, 2 * second, "net/conv:Conv2D", {}), (0, 2 * second, "a name: of none", {})]
    found = operations.add_up([thread, other])
    assert found == {
        ("cond", "If"): pytest.approx(3.0),
        ("cond/sgd/Mul_1", "Mul"): pytest.approx(3.0),
        ("cond/sgd/Mul_2", "Mul"): pytest.approx(1.0),
        ("_of_maps", "XLA"): pytest.approx(4.0),
        ("net/conv", "Conv2D"): pytest.approx(2.0),
    }


@pytest.mark.parametrize(
    ("name", "operation", "kind"),
    [
        ("net_1/stem_conv_1/stem_conv_1/convolution", "_MklNativeConv2D", "convolutions forward"),
        (
            "net_1/stage2_block1_projection_conv_1/Slice",
            "Slice",
            "convolutions forward",
        ),
        ("net_1/stem_pool_pad_1/stem_pool_pad_1/Pad", "Pad", "convolutions forward"),
        (
            "gradient_tape/net_1/stage3_block1_3x3_conv_1/convolution/Conv2DBackpropFilter",
            "_MklNativeConv2DBackpropFilter",
            "convolutions backward",
        ),
        ("conv2d_transpose_8", "_MklNativeConv2DBackpropInput", "convolutions backward"),
        ("MatMul_8", "_MklMatMul", "convolutions backward"),
        ("function", "XLA", "convolutions backward"),
        ("_sums", "XLA", "norm to ReLU forward"),
        ("_merge", "XLA", "norm to ReLU forward"),
        ("_of_relu", "XLA", "norm to ReLU backward"),
        ("_of_factors", "XLA", "norm to ReLU backward"),
        ("_of_maps", "XLA", "norm to ReLU backward"),
        ("net_1/fused_tail_9_1/AvgPool2d", "_MklNativeAvgPool", "norm to ReLU forward"),
        ("net_1/stage1_block1_expand_relu_1/Relu", "Relu", "norm to ReLU forward"),
        ("AvgPool2d_7", "_MklNativeAvgPool", "norm to ReLU backward"),
        (
            "gradient_tape/net_1/stage1_block1_reduce_relu_1/ReluGrad",
            "ReluGrad",
            "norm to ReLU backward",
        ),
        ("net_1/stage1_block1_projection_bn_1/FusedBatchNormV3", "X", "norm to ReLU forward"),
        (
            "gradient_tape/net_1/stage1_block1_expand_bn_1/batchnorm/mul",
            "Mul",
            "norm to ReLU backward",
        ),
        ("Sum_87", "Sum", "norm to ReLU backward"),
        ("AddN_139", "AddN", "gradients added"),
        ("net_1/stage1_block1_se_reduce_1/MatMul", "MatMul", "dense layers of gates"),
        ("net_1/stem_pool_1/MaxPool2d", "_MklNativeMaxPool", "pooling"),
        ("net_1/classifier_1/MatMul", "MatMul", "classifier and loss"),
        ("cond/then/_0/cond/sgd/Mul_738", "Mul", "optimizer"),
        ("IsFinite_184", "IsFinite", "optimizer"),
        ("net_1/Cast", "Cast", "input"),
        ("net_1/Cast_12", "Cast", "norm to ReLU forward"),
        ("gradient_tape/net_1/Cast_12/Cast", "Cast", "norm to ReLU backward"),
        ("net_1/stage1_block1_se_squeeze_1/Mean", "Mean", "norm to ReLU forward"),
        ("something", "Else", "other operations"),
    ],
)
def test_operations_are_of_these_kinds(scripts, name, operation, kind):
    assert scripts[0].name_kind(name, operation) == kind


def test_what_a_network_must_do_at_least_is_counted_from_its_layers(scripts):
    _, operations = scripts
    model = senet.create(
        "se_resnet50", n_blocks=(2,), n_filters=(8,), ratio=4, input_shape=(32, 32, 3), classes=5
    )
    found = operations.count_least(model, 10, 2)
    cost = {layer.name: layer.multiply_adds for layer in senet.complexity(model).layers}
    products = sum(cost[name] for name in cost if name.endswith("_conv"))
    assert found["convolutions forward"]["operations"] == 2 * 10 * products
    assert found["convolutions backward"]["operations"] == 2 * 10 * (
        2 * products - cost["stem_conv"]  # nobody asks for the gradient of images
    )
    # The stem's 16 x 16 x 64, then maps of 8 x 8: two blocks of 8, 8 and 32, and a projection.
    stem, narrow, wide = 16 * 16 * 64, 8 * 8 * 8, 8 * 8 * 32
    normalised = stem + 2 * (2 * narrow + wide) + wide
    written = stem + 2 * (2 * narrow + wide)
    shortcuts = wide  # of the identity block: the projection is normalised where it is added
    forward = 10 * 2 * (normalised + written + shortcuts)
    assert found["norm to ReLU forward"] == dict(operations=0, bytes=forward)
    assert found["norm to ReLU backward"]["bytes"] == forward + 10 * 2 * (normalised + shortcuts)
    assert found["pooling"]["bytes"] == 2 * 10 * 2 * (18 * 18 * 64 + 8 * 8 * 64)
    assert found["optimizer"]["bytes"] == 20 * senet.complexity(model).trainable_parameters
    dense = [cost[name] for name in cost if name.endswith(("se_reduce", "se_excite"))]
    gates = found["dense layers of gates"]
    assert (gates["operations"], gates["bytes"]) == (6 * 10 * sum(dense), 3 * 2 * sum(dense))
    assert found["classifier and loss"]["operations"] == 6 * 10 * 32 * 5
    assert found["input"]["bytes"] == 10 * 32 * 32 * 3 * (4 + 2)


@pytest.mark.parametrize("fused", [True, False])
def test_times_of_a_real_step_add_up_to_it(scripts, fused):
    """What TensorFlow calls its operations may change with a version: then they are of no kind."""
    script, _ = scripts
    options = dict(mode="train", network="se_resnet18", batch_size=8, precision="mixed_bfloat16")
    options |= dict(acceleration=True, fused=fused, one_at_a_time=True)
    path = os.pathsep.join(map(str, (ROOT, CONTESTANTS)))
    done = subprocess.run(
        [sys.executable, str(CONTESTANTS / "ours.py"), json.dumps(options)],
        input="2\nprofile\nleast\n",
        env=os.environ | {"PYTHONPATH": path, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    first, steps, profiled, least = lines
    assert first["about"]["precision"] == "mixed_bfloat16"
    assert len(steps["seconds"]) == 2
    total, types = script.add_kinds(profiled["answer"])
    step = 1000 * profiled["answer"]["seconds"]
    assert 0.5 * step < sum(seconds for _, _, seconds in profiled["answer"]["operations"]) * 1000
    assert total["between operations"] > -0.02 * step
    assert total["other operations"] < 0.02 * step, types["other operations"]
    assert min(total[kind] for kind in (*script.CONVOLUTIONS, *script.TAILS, script.GATES)) > 0
    assert set(least["answer"]) < set(script.KINDS)
    loops = [name for name, kind, _ in profiled["answer"]["operations"] if kind == "XLA"]
    assert ("_merge" in loops) == fused
