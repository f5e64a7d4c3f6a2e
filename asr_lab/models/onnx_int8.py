"""Weights of an ONNX graph in 8 bits, with onnxruntime's dynamic quantisation, which needs no calibration data.

Matrix products and LSTMs are computed in int8. onnxruntime leaves GRUs as they are, so each becomes a matrix product
over all frames, and a scan with one of its state a frame. Weights of convolutions are stored in int8, and computed in
float.

Legend: U frames, B utterances, I input size, H hidden size.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

_SMALLEST = 4096  # numbers of a tensor that is worth 8 bits
_FLOAT = TensorProto.FLOAT
_Node = tuple[str, list[str], list[str], dict[str, int]]
_FLOATS = ("filter_bank", "feature_extractor")
"""Modules that are computed in float: 8 bits are too few for samples and energies."""


def quantize(source: Path, target: Path) -> None:
    """Write the graph `source` with weights of 8 bits to `target`.

    One bit of the 8 is unused: products of pairs would overflow on processors without VNNI.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    _unfold_grus(model)
    kept = [node.name for node in model.graph.node if any(part in node.name for part in _FLOATS)]
    logging.disable(logging.WARNING)  # which proposes to simplify the graph first; a session does so
    try:
        quantize_dynamic(
            model,
            target,
            op_types_to_quantize=["MatMul", "LSTM"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=kept,
            extra_options={"EnableSubgraph": True, "MatMulConstBOnly": True},
        )
    finally:
        logging.disable(logging.NOTSET)
    model = onnx.load(target)
    _store_in_int8(model)
    onnx.save(model, target)


def _unfold_grus(model: Any) -> None:
    """Replace each GRU by a matrix product and a scan."""
    graph = model.graph
    weights = {one.name: one for one in graph.initializer}
    nodes: list[NodeProto] = []
    for node in graph.node:
        nodes += _unfolded(node, weights, graph) if node.op_type == "GRU" else [node]
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    unused = [one for one in graph.initializer if one.name not in used]
    for one in unused:
        graph.initializer.remove(one)


def _unfolded(node: NodeProto, weights: dict[str, TensorProto], graph: Any) -> list[NodeProto]:
    """Return the nodes of one GRU of one direction; its input is (U, B, I), its first output (U, 1, B, H)."""
    settings = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    assert settings.get("linear_before_reset") == 1, "as PyTorch's GRU"
    assert settings.get("direction", b"forward") == b"forward", "each direction is a GRU of its own"
    size, name = settings["hidden_size"], node.name
    of_input, of_state, biases = (numpy_helper.to_array(weights[one])[0] for one in node.input[1:4])
    bias_I, bias_H = biases[: 3 * size], biases[3 * size :]

    def stored(label: str, values: Any) -> str:
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), f"{name}/{label}"))
        return f"{name}/{label}"

    ones = stored("one", np.array([1], dtype=np.int64))
    parts = stored("parts", np.array([2 * size, size], dtype=np.int64))
    state = node.input[5]  # (1, B, H)
    nodes = [
        helper.make_node("MatMul", [node.input[0], stored("W", of_input.T)], [f"{name}/xw"], f"{name}/MatMul"),
        helper.make_node("Add", [f"{name}/xw", stored("Wb", bias_I)], [f"{name}/x"], f"{name}/Add"),
        helper.make_node("Split", [f"{name}/x", parts], [f"{name}/x_zr", f"{name}/x_n"], f"{name}/Split", axis=-1),
        helper.make_node("Squeeze", [state, stored("zero", np.array([0], dtype=np.int64))], [f"{name}/h0"]),
        helper.make_node(
            "Scan",
            [f"{name}/h0", f"{name}/x_zr", f"{name}/x_n"],
            [f"{name}/h", f"{name}/hs"],
            f"{name}/Scan",
            num_scan_inputs=2,
            body=_step(name, size, of_state.T, bias_H),
        ),
        helper.make_node("Unsqueeze", [f"{name}/hs", ones], [node.output[0]]),
    ]
    if len(node.output) > 1 and node.output[1]:
        nodes.append(helper.make_node("Unsqueeze", [f"{name}/h", f"{name}/zero"], [node.output[1]]))
    return nodes


def _step(name: str, size: int, weights_HG: Any, bias_G: Any) -> Any:
    """Return the graph of one frame of PyTorch's GRU: h' = n + z (h - n)."""
    of_gates: list[_Node] = [("Split", ["hw", "parts"], ["h_zr", "h_n"], {"axis": -1})]
    of_gates += [("Add", ["x_zr", "h_zr"], ["a"], {}), ("Sigmoid", ["a"], ["zr"], {})]
    of_gates += [("Split", ["zr", "halves"], ["z", "r"], {"axis": -1})]
    of_state: list[_Node] = [
        ("Mul", ["r", "h_n"], ["b"], {}),
        ("Add", ["x_n", "b"], ["c"], {}),
        ("Tanh", ["c"], ["n"], {}),
    ]
    of_state += [("Sub", ["h", "n"], ["d"], {}), ("Mul", ["z", "d"], ["e"], {}), ("Add", ["n", "e"], ["h_new"], {})]
    steps: list[_Node] = [("MatMul", ["h", "R"], ["hr"], {}), ("Add", ["hr", "Rb"], ["hw"], {}), *of_gates, *of_state]
    steps.append(("Identity", ["h_new"], ["h_out"], {}))
    nodes = [
        helper.make_node(kind, [f"{name}/s/{one}" for one in ins], [f"{name}/s/{one}" for one in outs], **more)
        for kind, ins, outs, more in steps
    ]
    for number, one in enumerate(nodes):
        one.name = f"{name}/s/{one.op_type}_{number}"
    constants = {
        "R": weights_HG,
        "Rb": bias_G,
        "parts": np.array([2 * size, size], dtype=np.int64),
        "halves": np.array([size, size], dtype=np.int64),
    }

    def value(label: str, width: int) -> Any:
        return helper.make_tensor_value_info(f"{name}/s/{label}", _FLOAT, ["batch", width])

    return helper.make_graph(
        nodes,
        f"{name}/step",
        [value("h", size), value("x_zr", 2 * size), value("x_n", size)],
        [value("h_new", size), value("h_out", size)],
        [numpy_helper.from_array(np.ascontiguousarray(one), f"{name}/s/{key}") for key, one in constants.items()],
    )


def _store_in_int8(model: Any) -> None:
    """Store weights that are still float, such as those of convolutions, in int8 with a scale for each output.

    They are float again when a session begins, by operators that onnxruntime computes once (`Cast`, `Mul`).
    """
    graph, nodes = model.graph, []
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor) if tensor.data_type == _FLOAT else np.zeros(0)
        if values.size < _SMALLEST or values.ndim < 2 or "filter_bank" in tensor.name:
            continue
        axes = tuple(range(1, values.ndim))
        scale = np.maximum(np.abs(values).max(axis=axes, keepdims=True) / 127, 1e-12).astype(np.float32)
        graph.initializer.remove(tensor)
        for label, content in (("int8", np.round(values / scale).astype(np.int8)), ("scale", scale)):
            graph.initializer.append(numpy_helper.from_array(content, f"{tensor.name}/{label}"))
        nodes += [
            helper.make_node("Cast", [f"{tensor.name}/int8"], [f"{tensor.name}/float"], to=_FLOAT),
            helper.make_node("Mul", [f"{tensor.name}/float", f"{tensor.name}/scale"], [tensor.name]),
        ]
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)
