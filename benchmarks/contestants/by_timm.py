"""timm as a contestant: PyTorch eager or compiled, ONNX Runtime, OpenVINO.

Options: network, mode, batch_size, precision (float32, bfloat16, with OpenVINO also int8), engine
(eager, compiled, onnxruntime, openvino).

Each engine is as its makers advise for a processor: channels last; `torch.compile`, for inference
with its weights frozen and its kernels tuned; autocast to train, weights in bfloat16 to infer; a
fused optimizer; graphs of one size.
"""

import pathlib
import tempfile
import warnings

import timm
import torch
from turns import read_options, serve

SIZE, CLASSES = 224, 1000


def make_training_step(options, model):
    """Forward, backward and update, as timm's own script does them."""
    compiled = torch.compile(model.train().to(memory_format=torch.channels_last))
    optimizer = torch.optim.SGD(
        model.parameters(), 1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
    )
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    images = make_images(options).to(memory_format=torch.channels_last)
    labels = torch.randint(0, CLASSES, (options["batch_size"],))
    in_bfloat16 = options["precision"] == "bfloat16"

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
            loss = loss_of(compiled(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def make_torch_step(options, model):
    """A prediction by PyTorch."""
    images = make_images(options)
    if options["engine"] == "compiled":
        torch._inductor.config.freezing = True
        dtype = getattr(torch, options["precision"])
        model = model.to(dtype, memory_format=torch.channels_last)
        images = images.to(dtype, memory_format=torch.channels_last)
        model = torch.compile(model, mode="max-autotune")
    elif options["batch_size"] > 1:  # one image is faster with its channels first
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)

    def step():
        with torch.inference_mode():
            return model(images)

    return step


def make_onnxruntime_step(options, model):
    """A prediction by ONNX Runtime, of the file that PyTorch writes."""
    import onnxruntime

    images = make_images(options)
    with tempfile.TemporaryDirectory() as folder:
        file = str(pathlib.Path(folder, "model.onnx"))
        names = dict(input_names=["image"], output_names=["logits"])
        torch.onnx.export(
            model, (images,), file, dynamo=True, external_data=False, verbose=False, **names
        )
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    inputs = {"image": images.numpy()}
    return lambda: session.run(None, inputs)


def make_openvino_step(options, model):
    """A prediction by OpenVINO, of the network as OpenVINO itself converts it."""
    import openvino

    images = make_images(options)
    graph = openvino.convert_model(model, example_input=images, input=[list(images.shape)])
    if options["precision"] == "int8":
        import nncf

        calibration = [make_images(options).numpy() for _ in range(4)]
        graph = nncf.quantize(graph, nncf.Dataset(calibration), subset_size=len(calibration))
    hints = {
        "INFERENCE_PRECISION_HINT": "f32" if options["precision"] == "float32" else "bf16",
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino.Core().compile_model(graph, "CPU", hints).create_infer_request()
    inputs = {0: images.numpy()}
    return lambda: request.infer(inputs, share_inputs=True)[0].copy()


def make_images(options):
    """Noise in place of images."""
    return torch.randn(options["batch_size"], 3, SIZE, SIZE)


MAKERS = {
    "eager": make_torch_step,
    "compiled": make_torch_step,
    "onnxruntime": make_onnxruntime_step,
    "openvino": make_openvino_step,
}


def main():
    """Take part."""
    warnings.simplefilter("ignore")
    options = read_options()
    torch.manual_seed(0)
    model = timm.create_model(options["network"].replace("se_", "se"))
    if options["mode"] == "train":
        step = make_training_step(options, model)
    else:
        for module in model.modules():  # a branch that is zero would be left out
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1)
        with torch.no_grad():
            step = MAKERS[options["engine"]](options, model.eval())
    engine = options["engine"]
    version = torch.__version__
    if engine in ("onnxruntime", "openvino"):
        version = __import__(engine).__version__
    about = dict(
        network=f"timm {timm.__version__}",
        engine=f"{'torch ' + engine if MAKERS[engine] is make_torch_step else engine} {version}",
        precision=options["precision"],
        batch_size=options["batch_size"],
        parameters=sum(p.numel() for p in model.parameters()),
    )
    serve(step, about)


if __name__ == "__main__":
    main()
