"""senet, and stock Keras, as contestants: what `senet benchmark` times.

Options: network, mode, batch_size, precision; to train acceleration, `fused` (false for norm, gate,
addition and ReLU one after the other) and `one_at_a_time`, with which TensorFlow runs one operation
after the other; to infer the precision that an export runs in, as `exported`, in place of Keras.
"""

import contextlib
import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

import keras
import numpy as np
import tensorflow
from operations import count_least, profile
from turns import read_options, serve

import senet
from senet import applications
from senet.acceleration import FusedTail
from senet.benchmarking.limits import measure_limits
from senet.benchmarking.subjects import TRAIN, inference_subject, training_subject
from senet.deployment.export import write_network
from senet.deployment.images import photographs
from senet.deployment.quantize import check_format
from senet.quiet import hush
from senet.runs.machine import describe_machine

VARIANT = "torch"
"""Of all networks: the stride in the 3x3, as timm has it, so that all compute the same."""
FORMAT = "openvino"


def make_export(network, precision, folder):
    """Write a network with random weights for OpenVINO; int8 is calibrated on parts of photos."""
    keras.utils.set_random_seed(0)
    model = senet.create(network, variant=VARIANT)
    rng = np.random.default_rng(0)
    for layer in model.layers:  # a gate or branch that is zero would be left out
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(rng.uniform(0.5, 1, layer.gamma.shape))
    rule = senet.Preprocessing(224)
    names = tuple(f"class {i}" for i in range(1000))
    manifest = write_network(model, folder, FORMAT, precision, names, rule)
    if precision == "int8":
        check_format(FORMAT)(folder / manifest.file, manifest.make_inputs(photographs(rule)))


def main():
    """Take part."""
    options = read_options()
    hush()
    if options.get("one_at_a_time"):
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    if "out" in options:
        make_export(options["network"], options["exported"], pathlib.Path(options["out"]))
        return
    limiting = options.get("exported", options["precision"]).removeprefix("mixed_")
    if limiting == "int8":  # Keras has no such product; the others of the row are in this one
        limiting = "bfloat16"
    outline = applications.outline(options["network"], variant=VARIANT)
    about = dict(
        network=options["network"],
        batch_size=options["batch_size"],
        parameters=senet.complexity(outline).trainable_parameters,
    )
    with contextlib.ExitStack() as held:
        if not options.get("fused", True):
            held.enter_context(mock.patch.object(FusedTail, "ending_in", return_value=None))
        if options["mode"] == TRAIN:
            subject = held.enter_context(
                training_subject(
                    options["network"],
                    batch_size=options["batch_size"],
                    precision=options["precision"],
                    variant=VARIANT,
                    acceleration=options["acceleration"],
                )
            )
        elif "exported" in options:
            folder = held.enter_context(tempfile.TemporaryDirectory())
            # In a process of its own, so that its memory is not taken for that of inference.
            command = [sys.executable, __file__, json.dumps(options | dict(out=folder))]
            subprocess.run(command, check=True)  # noqa: S603
            subject = inference_subject(pathlib.Path(folder), batch_size=options["batch_size"])
        else:
            subject = inference_subject(
                options["network"],
                batch_size=options["batch_size"],
                precision=options["precision"],
                variant=VARIANT,
            )
        machine = describe_machine()
        about |= dict(
            engine=subject.runtime or machine["backend"],
            precision=subject.precision,
            work=dataclasses.asdict(subject.work),
            machine=machine,
        )
        serve(
            subject.step,
            about,
            limits=lambda: dataclasses.asdict(measure_limits(limiting)),
            profile=lambda: profile(subject.step),
            least=lambda: count_least(
                outline, options["batch_size"], 2 if "16" in subject.precision else 4
            ),
        )


if __name__ == "__main__":
    main()
