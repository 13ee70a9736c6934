#!/usr/bin/env python3
"""Train the repository's example model: a small CNN that reads handwritten digits.

  python tools/models/setup.py venv
  ~/.cache/alula/venv/bin/python examples/digits/train.py

Writes, beside this file: digits.onnx (input `image` [N, 1, 8, 8] f32 in 0..1, output
`probabilities` [N, 10]), and of 64 images that training never saw test_images.npy,
test_labels.npy and expected.npy, ONNX Runtime's probabilities for them.

The data are scikit-learn's bundled digits (1,797 images). Forward and backward passes are
written out in numpy: no framework is needed, and a seed makes runs repeatable. BatchNormalization
stays an operator of its own in the file, as exporters leave it, so that there is work to do.
"""
import os
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"        # sums in one order: the same bytes every time

import numpy as np
import onnx
import onnxruntime
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).resolve().parent
SEED, EPOCHS, BATCH, RATE, DECAY = 7, 40, 64, 3e-3, 0.97
EPSILON, MOMENTUM = 1e-5, 0.1
WIDE, WIDER = 16, 32            # channels before and after the first pooling
SHOWN = 64                      # held-out images that go into the repository


def windows(x, size):
    """The size x size neighbourhood of every pixel, zero padded: [n, c, h, w, size, size]."""
    pad = size // 2
    return sliding_window_view(np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad))),
                               (size, size), axis=(2, 3))


class Network:
    """Parameters by ONNX name; each layer method computes its output and records its gradient."""

    def __init__(self, random):
        def weight(*shape):
            fan_in = np.prod(shape[1:])
            return (random.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)

        self.weights = {"stem.weight": weight(WIDE, 1, 3, 3),
                        "depthwise.weight": weight(WIDE, 1, 3, 3),
                        "pointwise.weight": weight(WIDE, WIDE, 1, 1),
                        "wide.weight": weight(WIDER, WIDE, 3, 3),
                        "head.weight": weight(10, WIDER * 4),
                        "head.bias": np.zeros(10, np.float32)}
        self.running = {}
        for name, channels in (("stem", WIDE), ("depthwise", WIDE), ("pointwise", WIDE),
                               ("wide", WIDER)):
            self.weights[f"{name}.scale"] = np.ones(channels, np.float32)
            self.weights[f"{name}.shift"] = np.zeros(channels, np.float32)
            self.running[f"{name}.mean"] = np.zeros(channels, np.float32)
            self.running[f"{name}.var"] = np.ones(channels, np.float32)
        self.training, self.gradients, self.tape = False, {}, []

    def conv(self, x, name, depthwise=False):
        w = self.weights[f"{name}.weight"]
        size = w.shape[-1]
        near, flipped = windows(x, size), w[:, :, ::-1, ::-1]
        if depthwise:
            y = np.einsum("nchwij,cij->nchw", near, w[:, 0], optimize=True)
        else:
            y = np.einsum("nchwij,ocij->nohw", near, w, optimize=True)

        def backward(dy):
            if depthwise:
                dw = np.einsum("nchwij,nchw->cij", near, dy, optimize=True)[:, None]
                dx = np.einsum("nchwij,cij->nchw", windows(dy, size), flipped[:, 0], optimize=True)
            else:
                dw = np.einsum("nchwij,nohw->ocij", near, dy, optimize=True)
                dx = np.einsum("nohwij,ocij->nchw", windows(dy, size), flipped, optimize=True)
            self.gradients[f"{name}.weight"] = dw
            return dx
        self.tape.append(backward)
        return y

    def norm(self, x, name):
        scale = self.weights[f"{name}.scale"][:, None, None]
        shift = self.weights[f"{name}.shift"][:, None, None]
        mean, var = self.running[f"{name}.mean"], self.running[f"{name}.var"]
        if self.training:
            batch_mean, batch_var = x.mean((0, 2, 3)), x.var((0, 2, 3))
            self.running[f"{name}.mean"] = (1 - MOMENTUM) * mean + MOMENTUM * batch_mean
            self.running[f"{name}.var"] = (1 - MOMENTUM) * var + MOMENTUM * batch_var
            mean, var = batch_mean, batch_var
        inverse = 1 / np.sqrt(var + EPSILON)[:, None, None]
        unit = (x - mean[:, None, None]) * inverse

        def backward(dy):
            self.gradients[f"{name}.scale"] = (dy * unit).sum((0, 2, 3))
            self.gradients[f"{name}.shift"] = dy.sum((0, 2, 3))
            du = dy * scale
            centred = du - du.mean((0, 2, 3), keepdims=True)
            return inverse * (centred - unit * (du * unit).mean((0, 2, 3), keepdims=True))
        self.tape.append(backward)
        return unit * scale + shift

    def relu(self, x):
        self.tape.append(lambda dy: dy * (x > 0))
        return np.maximum(x, 0)

    def max_pool(self, x):
        n, c, h, w = x.shape
        blocks = x.reshape(n, c, h // 2, 2, w // 2, 2)
        y = blocks.max((3, 5), keepdims=True)
        hit = blocks == y
        hit = hit / hit.sum((3, 5), keepdims=True)
        self.tape.append(lambda dy: (hit * dy[:, :, :, None, :, None]).reshape(x.shape))
        return y[:, :, :, 0, :, 0]

    def average_pool(self, x):
        n, c, h, w = x.shape
        self.tape.append(lambda dy: np.repeat(np.repeat(dy, 2, 2), 2, 3) / 4)
        return x.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))

    def head(self, x):
        flat, w = x.reshape(len(x), -1), self.weights["head.weight"]

        def backward(dy):
            self.gradients["head.weight"], self.gradients["head.bias"] = dy.T @ flat, dy.sum(0)
            return (dy @ w).reshape(x.shape)
        self.tape.append(backward)
        return flat @ w.T + self.weights["head.bias"]

    def logits(self, image):
        """The network. Must stay the same as `to_onnx`, which the check in `main` sees to."""
        self.tape = []
        stem = self.relu(self.norm(self.conv(image, "stem"), "stem"))
        fork = len(self.tape)
        x = self.relu(self.norm(self.conv(stem, "depthwise", depthwise=True), "depthwise"))
        x = self.norm(self.conv(x, "pointwise"), "pointwise")
        branch = self.tape[fork:]

        def residual(dy):
            through = dy
            for backward in reversed(branch):
                through = backward(through)
            return dy + through
        self.tape[fork:] = [residual]
        x = self.max_pool(self.relu(x + stem))
        x = self.average_pool(self.relu(self.norm(self.conv(x, "wide"), "wide")))
        return self.head(x)

    def step(self, image, label, adam):
        """One step of Adam on the mean cross entropy of a batch."""
        self.training = True
        gradient = softmax(self.logits(image))
        gradient[np.arange(len(label)), label] -= 1
        gradient /= len(label)
        for backward in reversed(self.tape):
            gradient = backward(gradient)
        self.training = False
        adam.step(self.weights, self.gradients)


class Adam:
    def __init__(self):
        self.rate, self.count, self.first, self.second = RATE, 0, {}, {}

    def step(self, weights, gradients):
        self.count += 1
        for name, g in gradients.items():
            m = self.first[name] = 0.9 * self.first.get(name, 0) + 0.1 * g
            v = self.second[name] = 0.999 * self.second.get(name, 0) + 0.001 * g * g
            m, v = m / (1 - 0.9 ** self.count), v / (1 - 0.999 ** self.count)
            weights[name] = (weights[name] - self.rate * m / (np.sqrt(v) + 1e-8)).astype(np.float32)


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def to_onnx(network):
    nodes, constants = [], network.weights | network.running

    def node(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def conv(x, name, size, group=1):
        y = node("Conv", [x, f"{name}.weight"], f"{name}_conv", group=group,
                 kernel_shape=[size, size], pads=[size // 2] * 4)
        statistics = [f"{name}.{part}" for part in ("scale", "shift", "mean", "var")]
        return node("BatchNormalization", [y, *statistics], f"{name}_norm", epsilon=EPSILON)

    halve = {"kernel_shape": [2, 2], "strides": [2, 2]}
    stem = node("Relu", [conv("image", "stem", 3)], "stem_relu")
    x = node("Relu", [conv(stem, "depthwise", 3, group=WIDE)], "depthwise_relu")
    x = node("Add", [conv(x, "pointwise", 1), stem], "residual")
    x = node("MaxPool", [node("Relu", [x], "residual_relu")], "max_pool", **halve)
    x = node("Relu", [conv(x, "wide", 3)], "wide_relu")
    x = node("Flatten", [node("AveragePool", [x], "average_pool", **halve)], "flat")
    x = node("Gemm", [x, "head.weight", "head.bias"], "logits", transB=1)
    node("Softmax", [x], "probabilities", axis=1)
    graph = helper.make_graph(
        nodes, "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(np.ascontiguousarray(w, np.float32), name)
         for name, w in constants.items()])
    model = helper.make_model(graph, producer_name="alula-digits", ir_version=8,
                              opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model, full_check=True)
    return model


def main():
    random = np.random.default_rng(SEED)
    digits = load_digits()
    images = (digits.images[:, None] / 16).astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(
        images, digits.target, test_size=0.2, random_state=SEED, stratify=digits.target)
    network, adam = Network(random), Adam()
    for epoch in range(EPOCHS):
        order = random.permutation(len(train_x))
        for start in range(0, len(order), BATCH):
            chosen = order[start:start + BATCH]
            network.step(train_x[chosen], train_y[chosen], adam)
        adam.rate *= DECAY
        if epoch % 10 == 9:
            correct = (network.logits(test_x).argmax(1) == test_y).mean()
            print(f"epoch {epoch + 1}: {correct:.1%} of {len(test_y)} held-out images right")

    path = HERE / "digits.onnx"
    path.write_bytes(to_onnx(network).SerializeToString())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    probabilities, = session.run(None, {"image": test_x})
    assert np.allclose(probabilities, softmax(network.logits(test_x)), atol=1e-5), \
        "the exported graph is not the trained network"
    accuracy = (probabilities.argmax(1) == test_y).mean()
    assert accuracy >= 0.95, f"only {accuracy:.1%} right"
    np.save(HERE / "test_images.npy", test_x[:SHOWN])
    np.save(HERE / "test_labels.npy", test_y[:SHOWN].astype(np.int64))
    np.save(HERE / "expected.npy", session.run(None, {"image": test_x[:SHOWN]})[0])
    print(f"{path.name}: {path.stat().st_size} bytes, {accuracy:.1%} of held-out images right")


if __name__ == "__main__":
    main()
