"""Turns the node tests of the ONNX project into networks for the tests of crates/lots-nn.

    python references/make_conformance.py [--out DIR]        default: crates/lots-nn/tests/data/conformance

The cases are those of the installed onnx package (onnx.backend.test, Apache-2.0): a node, or the nodes of the function that
defines it, with inputs and outputs as data. Taken are the cases of the operators in the table of docs/operators.md.

A network of Lots takes one float image and has constants otherwise. Hence a case gives several networks, its forms:

    batch   The model as it is, its first input an image with a free batch. Only where an image alone gives its part of
            the output, which ONNX's reference evaluator decides.
    NAME    An image of one row, reshaped to input NAME.
    A+B     An image of one row, cut by Slice and reshaped to all the float inputs.
    fold    All inputs as constants; the output, cast to float, is added to an image of one pixel that is zero.

All other inputs are initializers, and weights (`WEIGHTS`) always are. A network gives the first output; of Split each output
has a network of its own, `FORM:OUTPUT`. A network is written only if the reference evaluator finds it to be the case: the wrapping
changes nothing. What a network should give is what the case says, never what an evaluator finds.

networks.bin.gz holds, for each network, its name CASE/FORM, the operator, the ONNX model (each as u32 length and bytes), the
images and the outputs (each as u32 rank, u32 dimensions, f32 values; the first axis is that of images), little-endian. cases.txt has a line for each
case: operator, case, and its forms or why it has none. onnx_operators.txt has the name of every operator that there is.
"""

import argparse
import gzip
import pathlib
import re
import struct
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.loader import load_model_tests
from onnx.reference import ReferenceEvaluator

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs/operators.md"
OLDEST, NEWEST = 13, 28
# Cases with more data than this are left out: pools over three axes of 32, and one Tile.
MAX_BYTES = 100_000

# Types of a network's constants: weights, shapes and conditions; of some operators also others.
TYPES = {"float32", "int64", "int32", "bool"}
QUANTISED = {"DequantizeLinear": {"uint8", "int8"}}

# Inputs that are weights or settings of an operator, by position: constants in every network.
WEIGHTS = {
    "BatchNormalization": (1, 2, 3, 4),
    "Clip": (1, 2),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "DequantizeLinear": (1,),
    "Dropout": (1,),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "Pad": (2,),
    "PRelu": (1,),
    "RMSNormalization": (1,),
    "Range": (0, 1, 2),
    "Resize": (1, 2),
}

# Operators that the reference evaluator of onnx 1.23.2 gets wrong, so that ONNX Runtime takes its part: LRN of one image sums the
# first channel only.
BY_RUNTIME = {"LRN"}


class NotApplicable(Exception):
    """Why a case has no form."""


def base_name(name):
    """The case whose function `name` spells out, or itself."""
    return re.sub(r"_expanded(_ver\d+)?$", "", name)


def as_array(value):
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def constant(name, array):
    return numpy_helper.from_array(np.ascontiguousarray(array), name)


class Case:
    """A node test, checked for what no network of Lots could be."""

    def __init__(self, test, node):
        """`node` is the node that the case tests; its function may stand in its place."""
        self.name, self.node, self.model = test.name, node, test.model
        graph = test.model.graph
        sets = {s.domain: s.version for s in test.model.opset_import}
        if set(sets) - {"", "ai.onnx"}:
            raise NotApplicable("another domain")
        opset = max(sets.values())
        if opset > NEWEST:
            raise NotApplicable(f"operator set {opset}")
        if opset < OLDEST:
            self.raise_opset(opset)
        [(inputs, outputs)] = test.data_sets
        if any(v.type.WhichOneof("value") != "tensor_type" for v in [*graph.input, *graph.output]):
            raise NotApplicable("sequences or optional values")
        self.inputs = {v.name: as_array(a) for v, a in zip(graph.input, inputs, strict=True)}
        self.outputs = {v.name: as_array(a) for v, a in zip(graph.output, outputs, strict=True)}
        arrays = [*self.inputs.values(), *self.outputs.values()]
        if {str(a.dtype) for a in arrays} - TYPES - QUANTISED.get(node.op_type, set()):
            raise NotApplicable("types other than float32, int64, int32 and bool")
        if sum(a.nbytes for a in arrays) > MAX_BYTES:
            raise NotApplicable(f"more than {MAX_BYTES} bytes of data")
        data = [self.inputs[n] for n in node.input[:1]]
        if any(a.size == 0 for a in [*data, *self.outputs.values()]):
            raise NotApplicable("data without elements")
        if self.training():
            raise NotApplicable("training mode")

    def raise_opset(self, opset):
        """Writes the case for the oldest operator set that Lots reads, if its operators are still the same in it."""
        for used in self.model.graph.node:
            if onnx.defs.get_schema(used.op_type, OLDEST).since_version > opset:
                raise NotApplicable(f"operator set {opset}")
        changed = onnx.ModelProto()
        changed.CopyFrom(self.model)
        changed.opset_import[0].version = OLDEST
        self.model = changed

    def training(self):
        """Whether a node works as in training, and so differs from one run to the next or returns statistics."""
        for node in self.model.graph.node:
            flags = [a.i for a in node.attribute if a.name == "training_mode"]
            if node.op_type == "Dropout" and len(node.input) > 2:
                flags.append(bool(self.inputs[node.input[2]]))
            if any(flags):
                return True
        return False

    def images(self):
        """The float inputs that may depend on an image."""
        positions = WEIGHTS.get(self.node.op_type, ())
        weights = {self.node.input[i] for i in positions if i < len(self.node.input)}
        return [n for n, a in self.inputs.items() if a.dtype == np.float32 and a.size and n not in weights]

    def run(self, **replaced):
        """All outputs by the reference evaluator."""
        names = list(self.outputs)
        return dict(zip(names, self.evaluate(self.model, names, self.inputs | replaced), strict=True))

    def evaluate(self, model, names, inputs):
        if self.node.op_type in BY_RUNTIME:
            model = onnx.ModelProto.FromString(model.SerializeToString())
            for value in [*model.graph.input, *model.graph.output]:
                value.type.tensor_type.ClearField("shape")
            session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
            return session.run(names, inputs)
        return ReferenceEvaluator(model).run(names, inputs)

    def network(self, output, image, nodes, extra, constants, last=()):
        """The case's nodes between `nodes` and `last`, with `image` (name, shape) as the only input."""
        graph = self.model.graph
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        made = helper.make_graph(
            [*nodes, *graph.node, *last],
            self.name,
            [helper.make_tensor_value_info(image[0], TensorProto.FLOAT, image[1])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            [*(constant(n, self.inputs[n]) for n in constants), *extra],
        )
        model.graph.CopyFrom(made)
        return model

    def forms(self):
        """(form, model, images, outputs) of every network that this case gives."""
        images = self.images()
        several = self.node.op_type == "Split"
        for output, expected in list(self.outputs.items())[: None if several else 1]:
            suffix = f":{output}" if several else ""
            if images and expected.dtype == np.float32:
                if batch := self.batch(images[0], output):
                    yield "batch" + suffix, *batch
                for name in images:
                    yield name + suffix, *self.rows([name], output)
                if len(images) > 1:
                    yield "+".join(images) + suffix, *self.rows(images, output)
            yield "fold" + suffix, *self.folded(output)

    def batch(self, name, output):
        """The model as it is, where an image alone gives its part of the output."""
        images, expected = self.inputs[name], self.outputs[output]
        count = len(images) if images.ndim else 0
        if not 2 <= images.ndim <= 4 or expected.ndim == 0 or len(expected) != count:
            return None
        if count > 1:
            whole = self.run()[output]
            try:
                alone = [self.run(**{name: images[i : i + 1]})[output] for i in range(count)]
            except Exception:  # noqa: BLE001: the evaluator raises what it likes where one image does not fit
                return None
            if any(a.shape != whole[i : i + 1].shape for i, a in enumerate(alone)):
                return None
            if not np.allclose(np.concatenate(alone), whole, rtol=1e-6, atol=1e-7, equal_nan=True):
                return None
        constants = [n for n in self.inputs if n != name]
        model = self.network(output, (name, ["N", *images.shape[1:]]), [], [], constants)
        return model, images, expected

    def rows(self, names, output):
        """A row of numbers, cut and reshaped to the inputs `names`."""
        arrays = [self.inputs[n] for n in names]
        image = np.concatenate([a.ravel() for a in arrays]).reshape(1, 1, 1, -1)
        nodes, extra, start = [], [], 0
        for name, array in zip(names, arrays, strict=True):
            part = "lots.image"
            if len(names) > 1:
                part = f"lots.{name}.part"
                ends = [f"lots.{name}.{what}" for what in ("start", "end", "axis")]
                for end, value in zip(ends, (start, start + array.size, 3), strict=True):
                    extra.append(constant(end, np.array([value], np.int64)))
                nodes.append(helper.make_node("Slice", ["lots.image", *ends], [part]))
                start += array.size
            extra.append(constant(f"lots.{name}.shape", np.array(array.shape, np.int64)))
            nodes.append(helper.make_node("Reshape", [part, f"lots.{name}.shape"], [name]))
        constants = [n for n in self.inputs if n not in names]
        return self.alone(output, output, image, nodes, extra, constants, [])

    def folded(self, output):
        """What the constants give, plus zero."""
        image = np.zeros((1, 1, 1, 1), np.float32)
        scalar = constant("lots.scalar", np.array([], np.int64))
        nodes = [helper.make_node("Reshape", ["lots.image", "lots.scalar"], ["lots.zero"])]
        last = [
            helper.make_node("Cast", [output], ["lots.float"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["lots.zero", "lots.float"], ["lots.sum"]),
        ]
        return self.alone(output, "lots.sum", image, nodes, [scalar], list(self.inputs), last)

    def alone(self, output, result, image, nodes, extra, constants, last):
        """A network of one image, whose output has an axis for it in front of the axes that the case gives."""
        front = constant("lots.front", np.array([0], np.int64))
        last = [*last, helper.make_node("Unsqueeze", [result, "lots.front"], ["lots.output"])]
        model = self.network("lots.output", ("lots.image", image.shape), nodes, [*extra, front], constants, last)
        return model, image, self.outputs[output].astype(np.float32)[None]

    def check(self, form, model, images, outputs):
        """Whether the reference evaluator gives for the network what it gives for the case."""
        [feed] = [v.name for v in model.graph.input]
        [got] = self.evaluate(model, None, {feed: images})
        found = self.run()
        expected = np.asarray(found[form.split(":")[1]] if ":" in form else found[next(iter(found))], np.float32)
        np.testing.assert_array_equal(got, expected.reshape(outputs.shape), f"{self.name}/{form}", strict=True)


def claimed():
    """The operators of the table in docs/operators.md."""
    rows = re.findall(r"^\| `(\w+)` \|", TABLE.read_text(), re.MULTILINE)
    assert rows, f"no operators in {TABLE}"
    return rows


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<I", len(data)) + data


def array(a):
    a = np.ascontiguousarray(a, "<f4")
    return struct.pack(f"<{a.ndim + 1}I", a.ndim, *a.shape) + a.tobytes()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "crates/lots-nn/tests/data/conformance")
    out = parser.parse_args().out
    # Overflow and division by zero are what some cases are about.
    warnings.filterwarnings("ignore", category=RuntimeWarning)
    tests = load_model_tests(kind="node")
    tested = {t.name: t.model.graph.node[0] for t in tests if base_name(t.name) == t.name}
    wanted = set(claimed())
    networks, lines = [], []
    for test in tests:
        node = tested[base_name(test.name)]
        operator = node.op_type
        used = {n.op_type for n in test.model.graph.node}
        if operator not in wanted or not used <= wanted | {"Constant"}:
            continue
        try:
            case = Case(test, node)
            forms = list(case.forms())
            for form in forms:
                case.check(*form)
        except NotApplicable as reason:
            lines.append(f"{operator} {test.name} none: {reason}")
            continue
        for form, model, images, outputs in forms:
            name = f"{test.name}/{form}"
            model = model.SerializeToString(deterministic=True)
            networks.append(text(name) + text(operator) + text(model) + array(images) + array(outputs))
        lines.append(f"{operator} {test.name} {' '.join(form[0] for form in forms)}")
    out.mkdir(parents=True, exist_ok=True)
    packed = gzip.compress(b"".join(networks), 9, mtime=0)
    (out / "networks.bin.gz").write_bytes(packed)
    (out / "cases.txt").write_text("\n".join(sorted(lines)) + "\n")
    names = sorted({s.name for s in onnx.defs.get_all_schemas() if s.domain == "" and not s.deprecated})
    (out / "onnx_operators.txt").write_text("\n".join(names) + "\n")
    none = sum(" none: " in line for line in lines)
    print(f"onnx {onnx.__version__}: {len(lines)} cases, {none} without a form, {len(networks)} networks, {len(packed)} bytes")


if __name__ == "__main__":
    main()
