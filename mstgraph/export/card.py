"""The model card: a README.md in the form that model hubs use.

YAML between two lines of dashes, then Markdown; see M. Mitchell et al., "Model Cards for Model
Reporting", FAT* 2019, and https://huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mstgraph.export.table import header, rows, said_of_times
from mstgraph.support.text import one_line

WAYS_TO_RUN = {
    "onnx": """```sh
python predict.py {file} {files}    # needs numpy and onnxruntime alone
```

```python
from predict import Student

student = Student("{file}")
student.{asked}({values})    # raw values
```""",
    "torch": """```python
import torch

network = torch.export.load("{file}").module()    # needs torch alone
network({values})    # raw values
```""",
    "openvino": """```python
import openvino

network = openvino.Core().compile_model("{file}", "CPU")    # needs openvino alone
network({{{named}}})["{output}"]    # raw values
```""",
    "executorch": """```python
import torch
from executorch.runtime import Runtime

method = Runtime.get().load_program("{file}").load_method("forward")
method.execute([{values}])[0]    # raw values, at most {largest} samples
```""",
}


def card(document: Mapping[str, Any]) -> str:
    """Return the model card of an export.

    Args:
        document: what ``export.json`` says.
    """
    front = "".join(f"{name}: {_yaml(value)}\n" for name, value in _front(document).items())
    return f"---\n{front}---\n\n" + "\n\n".join(_sections(document)) + "\n"


def plain(text: object) -> str:
    r"""Return a text that Markdown and a browser show as it is, in a line or a cell of a table.

    >>> plain("a|b <i> `c`\nd")
    'a\\|b &lt;i&gt; \\`c\\` d'
    """
    whole = re.sub(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", one_line(text))
    return whole.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _yaml(value: Any) -> str:
    """Return a value as YAML, of which JSON is a part."""
    return json.dumps(value, ensure_ascii=False)


def _front(document: Mapping[str, Any]) -> dict[str, Any]:
    data, shipped = document["data"], document["ways"][-1]
    named = {"license": "other", "license_name": data["licence"]} if data["licence"] else {}
    task = "image-segmentation" if document["extent"] else document["task"]
    measured = [
        {"type": metric["name"], "name": metric["title"], "value": shipped["metrics"][name]}
        for metric in document["measured"]
        if (name := metric["name"]) in shipped["metrics"]
    ]
    result = {
        "task": {"type": task},
        "dataset": {"type": data["title"], "name": data["title"], "split": "test"},
        "metrics": measured,
    }
    return {
        **named,
        "library_name": document["runtime"],
        **({"pipeline_tag": task} if document["extent"] else {}),
        "tags": ["mstgraph", "knowledge-distillation", document["format"]],
        "model-index": [{"name": document["name"], "results": [result]}],
    }


def _sections(document: Mapping[str, Any]) -> Iterator[str]:
    data, file = document["data"], document["files"][0]
    label = f" ({plain(data['synthetic'])})" if data["synthetic"] else ""
    title = plain(data["title"])
    seen = " and ".join(f"`{given['name']}`" for given in document["inputs"])
    yield f"# {plain(document['name'])}"
    yield (
        f"Takes {seen} and {_answers(document)}; trained on "
        f"{title}{label} with mstgraph {document['versions']['mstgraph']}"
        f"{_distilled(document)}. Normalisation is inside the file: values go in raw."
    )
    for given in document["inputs"]:
        shape = ", ".join(map(str, ("batch", *given["shape"])))
        yield f"**Input** `{given['name']}`: [{shape}] {given['dtype']}{_unit(given)}."
    yield f"**Output** `{document['output']}`: [batch, {_outputs(document)}] float32."
    if names := document["classes"]:
        yield f"**Classes**, in the order of the outputs: {', '.join(map(plain, names))}."
    elif names := document["names"]:
        yield f"**Outputs**, in their order: {', '.join(map(plain, names))}."
    yield "## Use"
    yield WAYS_TO_RUN[document["format"]].format(**{**document, "file": file, **_called(document)})
    yield "## Metrics"
    split = f"test split '{plain(document['split'])}'{_complete(document)}"
    yield f"On the {document['samples']} samples of the {split}:"
    yield _markdown(header(document), rows(document))
    yield said_of_times(document) + "."
    yield _gain(document)
    yield "## Data and licence"
    yield f"{title}{label}. Source: {plain(data['source']) or 'not said'}."
    licence = plain(data["licence"]) or "the recipe says none"
    yield (
        f"Licence of the data: {licence}. A network trained on data may be bound by its licence; "
        "this card grants nothing."
    )
    yield "## Intended use and limits"
    yield "\n".join(f"- {line}" for line in _limits(document))
    yield "## Where it comes from"
    yield (
        f"Run {plain(document['run'])}, stage {plain(document['stage'])}, seed {document['seed']}; "
        + ", ".join(f"{name} {version}" for name, version in document["versions"].items())
        + ". All numbers are in `export.json`."
    )


def _answers(document: Mapping[str, Any]) -> str:
    if document["task"] == "multilabel":
        return f"says of each of {len(document['names'])} classes whether it applies (above 0)"
    if not document["classes"]:
        return "predicts numbers"
    where = "for every pixel" if document["extent"] else "for every sample"
    return f"tells {len(document['classes'])} classes apart, {where}"


def _distilled(document: Mapping[str, Any]) -> str:
    if "distilled" not in document["student"]:
        return ""
    return ", by distillation: teachers took part in training, none is needed now"


def _called(document: Mapping[str, Any]) -> dict[str, str]:
    """Return how a program names what it hands over."""
    names = {given["name"]: re.sub(r"\W", "_", given["name"]) for given in document["inputs"]}
    return {
        "files": " ".join(f"{name.upper()}.npy" for name in names.values()),
        "values": ", ".join(names.values()),
        "named": ", ".join(f"{json.dumps(name)}: {value}" for name, value in names.items()),
        "asked": "probabilities" if document["classes"] else "outputs",
    }


def _complete(document: Mapping[str, Any]) -> str:
    """Return which samples these are, where some lack what the student sees."""
    if not any(given["optional"] for given in document["inputs"]):
        return ""
    return f" that have {' and '.join(given['name'] for given in document['inputs'])}"


def _unit(given: Mapping[str, Any]) -> str:
    scale, unit = given["scale"], plain(given["unit"])
    if scale != 1:
        return f"; a value times {scale:.6g} is {f'in {unit}' if unit else 'the physical value'}"
    return f", in {unit}" if unit else ""


def _outputs(document: Mapping[str, Any]) -> str:
    return ", ".join(map(str, (document["outputs"], *document["extent"])))


def _markdown(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [map(plain, columns), ["---"] * len(columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _gain(document: Mapping[str, Any]) -> str:
    student = document["student"]
    if "gain" not in student:
        return (
            "The run has no control without teachers: nobody knows what distillation gained here."
        )
    primary = document["primary"]
    interval = student["certainty"].get("intervals", {}).get(primary)
    ends = f", 95 % interval {interval[0]:+.4f} to {interval[1]:+.4f}" if interval else ""
    return (
        f"Against the same network trained as long without teachers, in torch: "
        f"{student['gain'][primary]:+.4f} {primary} ({student['alone'][primary]:.4f} → "
        f"{student['distilled'][primary]:.4f}{ends}). In words: {student['certainty']['sentence']}."
    )


def _limits(document: Mapping[str, Any]) -> Iterator[str]:
    data = document["data"]
    yield f"For data like {plain(data['title'])}: the same sensors, preparation and classes."
    if data["synthetic"]:
        yield f"Trained on {plain(data['synthetic'])}: its numbers say nothing of real data."
    yield "It answers whatever it is shown; of something else than its classes it knows nothing."
    yield "One seed and one split: another training ends with other weights and other numbers."
    if document["int8"]:
        yield (
            f"Eight bits, calibrated on {document['calibrated']} training samples; values far from "
            "those are clipped."
        )
    for given in document["inputs"]:
        if given["varying"]:
            yield (
                f"It is not told how long `{given['name']}` is: zeros that fill a shorter one up "
                "are values to it."
            )
    if document["format"] == "executorch":
        yield f"At most {document['largest']} samples at once."
    yield "Not for decisions about people, or where errors do harm, without tests of your own."
