"""Writes whole networks of torchvision, as torch.onnx.export makes them, with reference results for crates/lots-nn.

    python references/make_networks.py [--out DIR] [--only NAME...]     default: crates/lots-nn/tests/networks

A file NAME.onnx has no weights: an initializer says in `external_data` how each of its numbers is computed (`formula` below),
so that PyTorch and a test have the same bits. networks.json has, for each network, what PyTorch computes in float64 for one image:
the output, the representation at one layer in the middle, and the gradients J^T c of one cotangent at each of the two, as a
summary (`summary` below). All numbers that are not weights come from the same formula, in streams of the network's seed:
SEED + 0 image, + 1 cotangent of the output, + 2 cotangent of the middle, + 3 sampled places, + 4 and up projections.

A network may be exported in several ways, all with the same weights, for the same results:

    dynamo, legacy      the two exporters
    fixed, free         batch of one or a free batch
    external            weights in a file of their own, as the dynamo exporter writes them by default
    unfolded            the legacy exporter told to preserve the mode: normalisations stay nodes of their own

A normalisation behind a convolution is folded by the exporters. The reference then is the network in which torch.fx folded it,
in float64, with the weights of the file.

A network is written only if ONNX Runtime's output agrees with the float64 output (1e-5 of its largest value), and if the image
is far from all kinks: single precision must not decide otherwise at a ReLU, a clip or a max pool, because one such decision moves
a whole gradient by percents. Of IMAGES seeds that one is taken whose nearest kink is farthest, measured in the root mean square
error of PyTorch's float32 at that operator; it must be MARGIN of them away.
"""

import argparse
import copy
import hashlib
import io
import json
import pathlib
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
import torch.fx.experimental.optimization
import torchvision
from onnx import numpy_helper
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision import models

CLASSES = 100
SAMPLE = 96  # places of a summary
PROJECTIONS = 4
IMAGES = 128  # seeds that are tried
MARGIN = 20
TOLERANCE = 1e-5
SCALAR = 1  # initializers of so many elements stay as the exporter wrote them


def bits(seed, count):
    """splitmix64: `count` words of stream `seed`."""
    z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def formula(seed, center, spread, shape):
    """float32 numbers in center ± spread: 24 bits of each word, in float64, rounded once."""
    top = (bits(seed, int(np.prod(shape))) >> np.uint64(40)).astype(np.float64)
    return (center + spread * ((2 * top + 1) / 2**24 - 1)).astype(np.float32).reshape(shape)


def uniform(seed, shape):
    """Numbers of variance 1 in ±√3, as a float64 tensor."""
    return torch.from_numpy(formula(seed, 0.0, 1.732, shape)).double()


def summary(seed, values):
    """Of float64 numbers: how many, the largest magnitude, the norm, those at SAMPLE places, and the products with PROJECTIONS vectors."""
    values = values.detach().double().flatten().numpy()
    places = bits(seed + 3, SAMPLE) % np.uint64(len(values))
    products = [float(values @ uniform(seed + 4 + p, len(values)).numpy()) for p in range(PROJECTIONS)]
    return {"elements": len(values), "largest": float(np.abs(values).max()), "norm": float(np.linalg.norm(values)),
            "sample": [float(f"{v:.9g}") for v in values[places]], "projections": [float(f"{v:.9g}") for v in products]}


class Network:
    """A module of torchvision, the side of its images, the module in the middle whose output is looked at, and the exports."""

    def __init__(self, name, make, side, middle, exports):
        self.name, self.make, self.side, self.middle, self.exports = name, make, side, middle, exports
        self.seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little") << 16


def vgg16():
    """VGG-16 with its convolutions as they are, and a narrow classifier."""
    network = models.vgg16(num_classes=CLASSES)
    network.avgpool = torch.nn.Identity()
    for at, sizes in ((0, (512, 256)), (3, (256, 256)), (6, (256, CLASSES))):
        network.classifier[at] = torch.nn.Linear(*sizes)
    return network


def vision_transformer():
    return models.VisionTransformer(image_size=32, patch_size=8, num_layers=3, num_heads=4, hidden_dim=48, mlp_dim=96, num_classes=CLASSES)


NETWORKS = (
    Network("vgg16", vgg16, 32, "features.14", ("dynamo-free", "legacy-free")),
    Network("resnet18", lambda: models.resnet18(num_classes=CLASSES), 64, "layer3.0.relu", ("dynamo-free", "legacy-fixed")),
    Network("mobilenet_v2", lambda: models.mobilenet_v2(num_classes=CLASSES), 48, "features.7.conv.2", ("dynamo-fixed", "legacy-free")),
    Network("mobilenet_v2_unfolded", lambda: models.mobilenet_v2(num_classes=CLASSES), 48, "features.7.conv.3", ("unfolded-free",)),
    Network("squeezenet", lambda: models.squeezenet1_0(num_classes=CLASSES), 64, "features.7.expand3x3_activation",
            ("external-fixed", "legacy-free")),
    Network("densenet121", lambda: models.densenet121(num_classes=CLASSES), 48, "features.denseblock2.denselayer6.conv2",
            ("dynamo-free", "legacy-fixed")),
    Network("googlenet", lambda: models.googlenet(num_classes=CLASSES, aux_logits=False, transform_input=True, init_weights=False), 64,
            "inception4b.branch3.1.conv", ("dynamo-free", "legacy-free")),
    Network("mobilenet_v3", lambda: models.mobilenet_v3_small(num_classes=CLASSES), 64, "features.4.block.2.scale_activation",
            ("dynamo-free", "legacy-fixed")),
    Network("efficientnet_b0", lambda: models.efficientnet_b0(num_classes=CLASSES), 64, "features.4.0.block.1.2", ("dynamo-fixed",)),
    Network("shufflenet", lambda: models.shufflenet_v2_x0_5(num_classes=CLASSES), 64, "stage3.1.branch2.7", ("dynamo-free", "legacy-free")),
    Network("vision_transformer", vision_transformer, 32, "encoder.layers.encoder_layer_1.mlp.1",
            ("dynamo-free", "dynamo-fixed", "legacy-free", "legacy-fixed")),
)

NORMALISATIONS = (torch.nn.BatchNorm2d, torch.nn.LayerNorm)


def fresh(network):
    """The network as a user has it: no two tensors alike, so that an exporter shares none and each can be found again."""
    torch.manual_seed(network.seed)
    module = network.make().eval()
    with torch.no_grad():
        for name, tensor in tensors(module).items():
            tensor.copy_(torch.rand(tensor.shape) + 0.5 if positive(module, name) else torch.randn(tensor.shape) * 0.1)
    return module


def tensors(module):
    """Parameters and running statistics by name."""
    return {name: t for name, t in [*module.named_parameters(), *module.named_buffers()] if t.is_floating_point()}


def positive(module, name):
    """Whether a tensor scales: the weight of a normalisation, or its variance."""
    owner, _, kind = name.rpartition(".")
    return isinstance(module.get_submodule(owner), NORMALISATIONS) and kind in ("weight", "running_var")


def folded(module):
    """The network in which convolutions have taken in the normalisations behind them."""
    if not any(isinstance(m, torch.nn.BatchNorm2d) for m in module.modules()):
        return module
    result = torch.fx.experimental.optimization.fuse(module)
    result.delete_all_unused_submodules()
    return result


class Recipe:
    """How the numbers of one tensor of the module are made."""

    def __init__(self, seed, center, spread):
        self.seed, self.center, self.spread = seed, center, spread

    def numbers(self, shape):
        return formula(self.seed, self.center, self.spread, shape)


def short(value):
    """A number of four digits, exactly as it is read back."""
    return float(f"{float(value):.4g}")


def calibrate(network, module):
    """Fills the float64 module with formula numbers, and returns their recipes. Layer by layer the spread of a weight is such that
    the outputs have variance one, and the centre of a variance is the mean square of what the normalisation takes."""
    recipes = {}
    all_tensors = tensors(module)

    def fill(name, center, spread):
        seed = int.from_bytes(hashlib.sha256(f"{network.name} {name}".encode()).digest()[:8], "little")
        recipes[name] = Recipe(seed, short(center), short(spread))
        with torch.no_grad():
            all_tensors[name].copy_(torch.from_numpy(recipes[name].numbers(all_tensors[name].shape)))

    for name, tensor in all_tensors.items():
        if positive(module, name):
            fill(name, 1.0, 0.5)
        elif tensor.dim() > 1 and tensor.numel() > tensor.shape[-1]:
            fill(name, 0.0, (3 / tensor[0].numel()) ** 0.5)
        else:
            fill(name, 0.0, 0.3)

    def prepare(layer, inputs):
        owner = names[layer]
        if isinstance(layer, torch.nn.BatchNorm2d):
            square = inputs[0].square().mean()
            fill(f"{owner}.running_var", square, square / 2)
            fill(f"{owner}.running_mean", 0.0, square.sqrt() / 3)
        else:
            output = type(layer).forward(layer, *inputs)
            if layer.bias is not None:
                bias = layer.bias
                output = output - (bias.view(-1, 1, 1) if isinstance(layer, torch.nn.Conv2d) else bias)
            name = f"{owner}.weight"
            fill(name, 0.0, recipes[name].spread / output.std())

    names = {layer: name for name, layer in module.named_modules()}
    handles = [layer.register_forward_pre_hook(prepare) for layer in names
               if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear, torch.nn.BatchNorm2d))]
    with torch.no_grad():
        module(torch.cat([image(network, network.seed - 1 - i) for i in range(4)]))
    for handle in handles:
        handle.remove()
    return recipes


def image(network, seed):
    return uniform(seed, (1, 3, network.side, network.side))


class Kinks(TorchDispatchMode):
    """Keeps what comes to the operators that decide."""

    AT = {"relu": (0.0,), "hardtanh": (0.0, 6.0), "hardswish": (-3.0, 3.0), "hardsigmoid": (-3.0, 3.0)}

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        kind = function.overloadpacket.__name__.rstrip("_")
        if kind in self.AT:
            self.seen.append((self.AT[kind], arguments[0].clone()))
        elif kind == "max_pool2d_with_indices":
            self.seen.append((None, windows(*arguments)))
        return function(*arguments, **(options or {}))


def windows(x, kernel, stride, padding=(0, 0), dilation=(1, 1), ceil_mode=False):
    """The two largest values of each window, in the last dimension."""
    if tuple(dilation) != (1, 1):
        raise NotImplementedError("dilated pooling")
    padding = [padding[0], padding[-1]] if padding else [0, 0]
    extra = [s if ceil_mode else 0 for s in stride]
    x = torch.nn.functional.pad(x, (padding[1], padding[1] + extra[1], padding[0], padding[0] + extra[0]), value=-torch.inf)
    rows = x.unfold(2, kernel[0], stride[0]).unfold(3, kernel[1], stride[1]).flatten(-2)
    return rows.topk(2, -1).values


def distance(exact, single, x):
    """How far image `x` is from all kinks, in root mean square errors of float32 at the operator."""
    seen = []
    for module, dtype in ((exact, torch.float64), (single, torch.float32)):
        kinks = Kinks()
        with torch.no_grad(), kinks:
            module(x.to(dtype))
        seen.append([(at, values.double()) for at, values in kinks.seen])
    nearest = float("inf")
    for (at, values), (_, rounded) in zip(*seen, strict=True):
        finite = values.isfinite() & rounded.isfinite()
        error = (values - rounded)[finite].square().mean().sqrt()
        if at is None:
            # Equal values are one value, which overlapping windows of the pool before both chose, or zeros behind a ReLU.
            gaps = values[..., 0] - values[..., 1]
            gaps = [gaps[gaps > 0] / 2**0.5]
        else:
            gaps = [(values - kink).abs() for kink in at]
        nearest = min([nearest, *(float(g.min() / error) for g in gaps if g.numel() and error > 0)])
    return nearest


def export(network, module, way):
    """The file as the exporter makes it, without stack traces; its weights stay outside where the exporter leaves them there."""
    exporter, batch = way.split("-")
    free = batch == "free"
    example = torch.randn(2 if free else 1, 3, network.side, network.side)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        if exporter in ("legacy", "unfolded"):
            buffer = io.BytesIO()
            mode = torch.onnx.TrainingMode.EVAL if exporter == "legacy" else torch.onnx.TrainingMode.PRESERVE
            torch.onnx.export(module, (example,), buffer, dynamo=False, training=mode, input_names=["image"], output_names=["logits"],
                              **({"dynamic_axes": {"image": {0: "batch"}, "logits": {0: "batch"}}} if free else {}))
            model = onnx.load_from_string(buffer.getvalue())
        else:
            path = pathlib.Path(folder) / f"{network.name}-{way}.onnx"
            torch.onnx.export(module, (example,), path, verbose=False, external_data=exporter == "external",
                              **({"dynamic_shapes": ({0: torch.export.Dim("N")},)} if free else {}))
            model = onnx.load(path, load_external_data=False)
            outside = {t.name: [(e.key, e.value) for e in t.external_data] for t in model.graph.initializer}
            onnx.load_external_data_for_model(model, folder)
            for tensor in model.graph.initializer:
                # Kept for the file that is written; until then the numbers are inside.
                for key, value in outside[tensor.name]:
                    tensor.external_data.add(key=key, value=value)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer]:
        del value.metadata_props[:]
    return model


def sources(model, module):
    """For each initializer with weights the name of the module's tensor, and whether it lies transposed."""
    found = {}
    have = {name: t.detach().numpy() for name, t in tensors(module).items()}
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size <= SCALAR:
            continue
        matches = []
        for name, own in have.items():
            for turned in (False, True):
                if turned and own.ndim != 2:
                    continue
                candidate = own.T if turned else own
                # The exporter folds in float32, so that the last bits may differ.
                if candidate.shape == values.shape and np.allclose(candidate, values, rtol=1e-4, atol=1e-6):
                    matches.append((name, turned))
        if len(matches) != 1:
            raise ValueError(f"{tensor.name} {list(values.shape)} is {len(matches)} tensors of the module: {matches}")
        found[tensor.name] = matches[0]
    return found


def fill(model, found, recipes, shapes):
    """Gives the initializers their formula numbers."""
    for tensor in model.graph.initializer:
        if tensor.name in found:
            name, turned = found[tensor.name]
            numbers = recipes[name].numbers(shapes[name])
            tensor.raw_data = (numbers.T if turned else numbers).astype("<f4").tobytes()
            del tensor.float_data[:]


def empty(model, found, recipes):
    """Takes the numbers out again and says where they come from."""
    for tensor in model.graph.initializer:
        if tensor.name not in found:
            continue
        name, turned = found[tensor.name]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        recipe = recipes[name]
        entries = {"seed": recipe.seed, "center": recipe.center, "spread": recipe.spread, **({"transposed": 1} if turned else {})}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))


def inside(model):
    """A copy that ONNX Runtime takes: all numbers inside."""
    model = copy.deepcopy(model)
    for tensor in model.graph.initializer:
        del tensor.external_data[:]
        tensor.ClearField("data_location")
    return model


def run(model, x, names):
    """The named values in ONNX Runtime, which optimises nothing."""
    model = inside(model)
    output = model.graph.output[0].name
    have = {output}
    for name in names:
        if name not in have:
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
            have.add(name)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = [output, *names]
    return dict(zip(wanted, session.run(wanted, {model.graph.input[0].name: x.float().numpy()})))


def relative(a, b):
    return float(np.abs(a - b).max() / np.abs(b).max())


def middle_value(model, x, representation):
    """The first value of the graph that is the representation."""
    floats = []
    inferred = onnx.shape_inference.infer_shapes(inside(model), data_prop=True)
    types = {v.name: v.type.tensor_type.elem_type for v in inferred.graph.value_info}
    for node in model.graph.node:
        floats += [o for o in node.output if o and types.get(o) == onnx.TensorProto.FLOAT and node.op_type not in ("Constant", "Identity")]
    for name, value in run(model, x, floats).items():
        if value.shape == representation.shape and relative(value, representation) < TOLERANCE:
            return name
    raise ValueError("no value of the file is the representation in the middle")


def results(network, module, x, seed):
    """Output, representation in the middle, and the gradients of one cotangent at each, in the module's precision."""
    kept = []
    # Copied, because what follows may change it in place.
    handle = module.get_submodule(network.middle).register_forward_hook(lambda _, __, output: kept.append(output.clone()))
    x = x.clone().requires_grad_(True)
    output = module(x)
    handle.remove()
    middle = kept[-1]
    gradients = [torch.autograd.grad(value, x, uniform(seed + 1 + at, value.shape).to(x.dtype), retain_graph=True)[0]
                 for at, value in enumerate((output, middle))]
    return output.detach(), middle.detach(), *gradients


def write(network, folder):
    """Writes the network; returns its entry and what was wrong."""
    module = fresh(network)
    unfolded = any(way.startswith("unfolded") for way in network.exports)
    exact = copy.deepcopy(module) if unfolded else folded(module)
    files = [(way, export(network, module, way)) for way in network.exports]
    found = [sources(model, exact) for _, model in files]
    shapes = {name: tuple(t.shape) for name, t in tensors(exact).items()}
    exact = exact.double()
    recipes = calibrate(network, exact)
    single = copy.deepcopy(exact).float()
    far, seed = max((distance(exact, single, image(network, seed)), seed) for seed in range(network.seed, network.seed + 16 * IMAGES, 16))
    x = image(network, seed)
    wanted = results(network, exact, x, seed)
    names = ("output", "middle", "gradient", "middle gradient")
    errors = {name: relative(a.double().numpy(), b.numpy()) for name, a, b in zip(names, results(network, single, x.float(), seed), wanted)}
    entry = {"name": network.name, "seed": seed, "kinks": short(far) if far < float("inf") else None,
             "float32": {name: short(e) for name, e in errors.items()}, "files": []}
    problems = [] if far >= MARGIN else ["too near to a kink"]
    for (way, model), match in zip(files, found):
        fill(model, match, recipes, shapes)
        onnx.checker.check_model(inside(model), full_check=True)
        difference = relative(run(model, x, [])[model.graph.output[0].name], wanted[0].numpy())
        if not difference <= TOLERANCE:
            problems.append(f"{way}: ONNX Runtime is {difference:.1e} off")
        entry["files"].append({"file": f"{network.name}-{way}.onnx", "middle": middle_value(model, x, wanted[1].numpy())})
        empty(model, match, recipes)
        unused = set(recipes) - {name for name, _ in match.values()}
        if unused:
            problems.append(f"{way}: not in the file: {sorted(unused)}")
        content = model.SerializeToString(deterministic=True)
        (folder / entry["files"][-1]["file"]).write_bytes(content)
        operators = sorted({node.op_type for node in model.graph.node})
        print(f"{network.name}-{way}: {len(content) / 1e3:.0f} kB, {len(model.graph.node)} nodes, ONNX Runtime {difference:.1e}: {' '.join(operators)}")
    entry.update({name: summary(seed, values) for name, values in zip(names, wanted)})
    spread = [f"{name} {float(v.std()):.2g}" for name, v in zip(names, wanted)]
    print(f"{network.name}: {sum(t.numel() for t in tensors(exact).values()) / 1e6:.1f} M weights, kinks {far:.0f}, float32 "
          f"{', '.join(f'{n} {e:.1e}' for n, e in errors.items())}; deviations {', '.join(spread)}{''.join('  BAD: ' + p for p in problems)}", flush=True)
    return entry, problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    default = pathlib.Path(__file__).resolve().parent.parent / "crates" / "lots-nn" / "tests" / "networks"
    parser.add_argument("--out", type=pathlib.Path, default=default)
    parser.add_argument("--only", nargs="*", help="names of networks; the others keep their entries")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # for the same last bits everywhere
    index = arguments.out / "networks.json"
    entries = {e["name"]: e for e in json.loads(index.read_text())["networks"]} if arguments.only and index.is_file() else {}
    bad = 0
    for network in NETWORKS:
        if arguments.only and network.name not in arguments.only:
            continue
        entry, problems = write(network, arguments.out)
        bad += bool(problems)
        entries[network.name] = entry
    versions = {"torch": torch.__version__.split("+")[0], "torchvision": torchvision.__version__.split("+")[0]}
    ordered = [entries[n.name] for n in NETWORKS if n.name in entries]
    lines = [",\n  ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in entry.items()) for entry in ordered]
    networks = "},\n {".join(lines)
    index.write_text(f'{{"versions": {json.dumps(versions)}, "networks": [\n {{{networks}}}\n]}}\n')
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
