"""The linear head of a trained learner: what is left of it once the class names are fixed."""

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmcal import __version__
from vlmcal.errors import DataError, StoreError
from vlmcal.extras import naming_extras
from vlmcal.io.atomic import atomic_write
from vlmcal.io.json_text import parse_json
from vlmcal.io.state_files import SEAL, is_intact, sealed
from vlmcal.learners.base import Learner

FORMAT = 2
READABLE = (1, 2)
FORMULA = (
    "logits = scale * (weight @ (f / |f|)) + bias, f = raw image feature of the frozen backbone"
)
Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LinearHead:
    """z = s (W f / |f|) + b on raw image features f of the frozen backbone; no text tower needed.

    Attributes:
        weight: W, (K, D) float32.
        bias: b, (K,) float32.
        scale: The factor s.
        class_names: K names.
        about: Where it comes from: method, backbone and its fingerprint, image preprocessing.

    Example:
        >>> head = LinearHead(np.eye(2, dtype=np.float32), np.zeros(2, np.float32), 10.0, ("a", "b"), {})
        >>> head.logits(np.array([[3.0, 4.0]])).round(4).tolist()
        [[6.0, 8.0]]
    """

    weight: Array
    bias: Array
    scale: float
    class_names: tuple[str, ...]
    about: dict[str, Any]

    def logits(self, features: NDArray[Any]) -> Array:
        """Logits (N, K) of raw image features (N, D).

        Raises:
            DataError: The features have another shape.
        """
        if features.ndim != 2 or features.shape[1] != self.weight.shape[1]:
            raise DataError(
                f"image features: expected shape (N, {self.weight.shape[1]}), got {features.shape}"
            )
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        return np.asarray(self.scale * unit @ self.weight.T + self.bias, dtype=np.float32)


def linear_head(learner: Learner) -> LinearHead:
    """The trained classifier as one matrix on frozen image features.

    Raises:
        SpecError: The method's predictions are no linear function of them; says why.
    """
    weight, bias, scale = learner.linear_head()
    encoder = learner.encoder
    return LinearHead(
        weight.float().cpu().numpy(),
        bias.float().cpu().numpy(),
        scale,
        learner.classes.class_names,
        {
            "method": learner.name,
            "backbone": encoder.name,
            "backbone_fingerprint": encoder.fingerprint,
            "preprocess": encoder.preprocess.describe(),
        },
    )


def save_head(head: LinearHead, folder: Path) -> None:
    """Write ``head.safetensors`` and ``head.json`` into ``folder``."""
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    tensors = save({"weight": head.weight, "bias": head.bias})
    text = {
        "format": FORMAT,
        "vlmcal": __version__,
        "formula": FORMULA,
        "scale": head.scale,
        "class_names": list(head.class_names),
        **head.about,
    }
    told = json.dumps(sealed(text, tensors), indent=2, ensure_ascii=False)
    atomic_write(folder / "head.safetensors", tensors)
    atomic_write(folder / "head.json", told.encode())


def load_head(folder: Path) -> LinearHead:
    """Read what :func:`save_head` wrote.

    Raises:
        StoreError: Files are missing, damaged or of another format.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        text = parse_json((folder / "head.json").read_text(encoding="utf-8"))
        stored = (folder / "head.safetensors").read_bytes()
        tensors, given = load(stored), text["format"]
        if type(given) is not int or given not in READABLE:
            raise ValueError(f"format {given}, this version reads {FORMAT} and older ones")
        weight, bias = tensors["weight"], tensors["bias"]
        names, scale = tuple(text["class_names"]), text["scale"]
        _require_possible(weight, bias, names, scale)
        old = given == 1 and SEAL not in text
        if not old and not is_intact(text, stored):
            raise ValueError("it does not match its checksum")
    except (OSError, LookupError, TypeError, ValueError, SafetensorError) as error:
        raise StoreError(
            f"{folder} holds no readable head ({error}); export it again from the trained run"
        ) from error
    own = ("format", "scale", "class_names", "formula", "vlmcal", SEAL)
    about = {k: v for k, v in text.items() if k not in own}
    return LinearHead(weight, bias, float(scale), names, about)


def _require_possible(
    weight: NDArray[Any], bias: NDArray[Any], names: tuple[Any, ...], scale: Any
) -> None:
    if weight.ndim != 2 or weight.shape[0] != len(names) or bias.shape != (len(names),):
        raise ValueError(f"{len(names)} class names but a weight of shape {weight.shape}")
    if weight.dtype != np.float32 or bias.dtype != np.float32:
        raise ValueError(f"expected float32, got {weight.dtype} and {bias.dtype}")
    if not np.isfinite(weight).all() or not np.isfinite(bias).all():
        raise ValueError("the weight or the bias is not finite")
    if type(scale) not in (int, float) or not 0 < scale < np.inf:
        raise ValueError(f"expected a scale above 0, got {scale!r}")
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise ValueError(f"impossible class names {list(names)[:5]}")


def save_onnx(head: LinearHead, path: Path) -> None:
    """Write the head as an ONNX graph: ``image_features`` (N, D) -> ``logits`` (N, K), opset 18.

    Needs the extra ``onnx``.

    Raises:
        MissingExtraError: The package ``onnx`` is not installed.
        StoreError: The file cannot be written.
    """
    with naming_extras():
        onnx, helper, arrays = map(
            importlib.import_module, ("onnx", "onnx.helper", "onnx.numpy_helper")
        )
    classes, width = head.weight.shape
    constants = {
        "weight": (np.float32(head.scale) * head.weight.T).astype(np.float32),
        "bias": head.bias,
        "axes": np.array([1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("ReduceL2", ["image_features", "axes"], ["length"], keepdims=1),
        helper.make_node("Div", ["image_features", "length"], ["unit"]),
        helper.make_node("MatMul", ["unit", "weight"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], ["logits"]),
    ]

    def info(name: str, size: int) -> Any:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", size])

    graph = helper.make_graph(
        nodes,
        "vlmcal_head",
        [info("image_features", width)],
        [info("logits", classes)],
        [arrays.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    for key, value in (("class_names", json.dumps(list(head.class_names))), ("formula", FORMULA)):
        model.metadata_props.add(key=key, value=value)
    atomic_write(path, model.SerializeToString())
