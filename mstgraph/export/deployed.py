"""Run an exported student: numpy and onnxruntime are all that it takes.

    python predict.py MODEL.onnx VALUES.npy      [samples, *shape], or one sample
    python predict.py MODEL.onnx VALUES.csv      a line of numbers for each sample

A student of several modalities takes a file of each, in the order in which the model names them.

Values are raw, as they were measured or stored: normalisation is inside the file. What comes out
is a line for each sample: the class, how probable it is, and what comes next; of a map, the
classes that fill most of it. --out NAME.npy keeps the answers, [samples, …], as indices of classes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnxruntime


class Student:
    """An exported student.

    Attributes:
        facts: what the file says of itself: ``title``, ``classes``, ``licence``, …
        classes: names of the classes.
        inputs: name of each modality, in order → shape of a sample, and type of its values.
    """

    def __init__(self, path: str, threads: int = 1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        self.facts = self.session.get_modelmeta().custom_metadata_map
        self.classes = self.facts["classes"].split("\n")
        self.inputs = {}
        for given in self.session.get_inputs():
            kind = given.type.removeprefix("tensor(").removesuffix(")")
            kind = {"float": "float32", "double": "float64"}.get(kind, kind)
            self.inputs[given.name] = tuple(given.shape[1:]), np.dtype(kind)

    def outputs(self, *values: np.ndarray) -> np.ndarray:
        """Return logits or probabilities, [samples, classes, …], of raw values of each input."""
        if len(values) != len(self.inputs):
            raise SystemExit(f"expected values of each of {', '.join(self.inputs)}, in this order")
        given = {
            name: np.ascontiguousarray(own, kind).reshape(-1, *shape)
            for (name, (shape, kind)), own in zip(self.inputs.items(), values, strict=True)
        }
        return self.session.run(None, given)[0]

    def probabilities(self, *values: np.ndarray) -> np.ndarray:
        """Return probabilities, [samples, classes, …], of raw values of each input."""
        outputs = self.outputs(*values)
        if self.facts["output"] == "probabilities":
            return outputs
        powers = np.exp(outputs - outputs.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)


def read(path: str) -> np.ndarray:
    """Return the values of a .npy file, or of a text with a line of numbers for each sample."""
    if path.endswith(".npy"):
        return np.load(path, allow_pickle=False)
    return np.loadtxt(path, delimiter="," if "," in Path(path).read_text() else None, ndmin=2)


def line(student: Student, outputs: np.ndarray) -> str:
    """Return what one sample shows, [classes, …], in words."""
    if student.facts["answers"] != "classes":
        return "  ".join(f"{value:.4g}" for value in outputs.ravel()[:16])
    if outputs.ndim > 1:
        counts = np.bincount(outputs.argmax(0).ravel(), minlength=len(student.classes))
        outputs = counts / counts.sum()
    order = np.argsort(-outputs)[:3]
    return "  ".join(f"{student.classes[i]} {outputs[i]:.3f}" for i in order if outputs[i] > 0)


def main() -> None:
    """Read, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("values", nargs="+")
    parser.add_argument("--out", help="a .npy file for the answers")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    student = Student(given.model, given.threads)
    of_classes = student.facts["answers"] == "classes"
    values = [read(path) for path in given.values]
    outputs = student.probabilities(*values) if of_classes else student.outputs(*values)
    for number, sample in enumerate(outputs):
        print(f"{number}  {line(student, sample)}")
    if given.out:
        np.save(given.out, outputs.argmax(1).astype(np.int32) if of_classes else outputs)


if __name__ == "__main__":
    main()
