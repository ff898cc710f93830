"""Plan documents written by hand, in the form of `mstgraph.derive.document.plan_document`."""

from __future__ import annotations


def document(
    modalities,
    members,
    masks,
    targets,
    *,
    gate=True,
    mutual=True,
    teaches=True,
    shape=(3, 480, 640),
):
    """A plan: every member teaches every target, and all are aligned with each other."""
    names = list(members)
    teachers = {
        student: _teachers([n for n in names if n != student], masks, student)
        for student in targets
        if teaches
    }
    last = {student: f"{'dkd' if gate else 'distill'}-{student}" for student in teachers}
    return {
        "name": "example",
        "seed": 0,
        "data": {
            "title": "NYU-Depth-V2",
            "synthetic": "",
            "store": "stores/example",
            "prepared": False,
            "fingerprint": "",
            "split": "0",
            "samples": {},
        },
        "task": {"kind": "segmentation", "outputs": 40, "metrics": ["mIoU"], "primary": "mIoU"},
        "targets": list(targets),
        "modalities": [
            {"name": name, "dtype": "uint8", "shape": list(shape)}
            for name in (*modalities, "unused")
        ],
        "members": [
            {
                "index": i,
                "name": name,
                "role": _role(name, inputs, targets),
                "network": "FuseNet" if len(inputs) > 1 else "FuseNetBranch",
                "inputs": list(inputs),
                "parameters": 1000,
                "output": [40],
                "masks": list(masks.get(name, ())),
                "initialisation": "",
            }
            for i, (name, inputs) in enumerate(members.items())
        ],
        "edges": _edges(names, targets if teaches else (), last, mutual),
        "teachers": teachers,
        "gates": {s: {"stage": last[s], "parameters": 10} for s in teachers if gate},
        "stages": _stages(names, teachers, last, mutual),
    }


def two_modalities():
    """RGB and depth, N = 4."""
    return document(
        modalities=("rgb", "depth"),
        members={"rgbd": ("rgb", "depth"), "rgb": ("rgb",), "depth": ("depth",)},
        masks={
            "rgbd": ("fusion", "decoder.stage5"),
            "depth": ("encoder.stage5", "decoder.stage5"),
        },
        targets=("rgb",),
    )


def three_modalities():
    """RGB, depth and normals, N = 6."""
    branch = ("encoder.stage5", "decoder.stage5")
    return document(
        modalities=("rgb", "depth", "normals"),
        members={
            "rgbd": ("rgb", "depth", "normals"),
            "rgb": ("rgb",),
            "depth": ("depth",),
            "normals": ("normals",),
        },
        masks={"rgbd": ("fusion", "decoder.stage5"), "depth": branch, "normals": branch},
        targets=("rgb",),
    )


def six_modalities():
    """Six feature sets and a fused member, N = 14."""
    names = ("fou", "fac", "kar", "pix", "zer", "mor")
    fused = {"fused": names}
    hidden = ("hidden1", "hidden2")
    return document(
        modalities=names,
        members=fused | {name: (name,) for name in names},
        masks={"fused": ("fusion", "hidden1", "hidden2", "hidden3")}
        | {name: hidden for name in names if name != "zer"},
        targets=("zer",),
        shape=(76,),
    )


def routing(plan, shares=None):
    """Shares of the teachers of every student, as in ``summary.json``."""
    return {
        student: [
            {"name": teacher["name"], "share": share, "confidence": share}
            for teacher, share in zip(teachers, shares or _falling(len(teachers)), strict=True)
        ]
        for student, teachers in plan["teachers"].items()
    }


def _falling(count):
    total = count * (count + 1) / 2
    return [(count - i) / total for i in range(count)]


def _role(name, inputs, targets):
    if name in targets:
        return "student"
    return "multimodal teacher" if len(inputs) > 1 else "auxiliary teacher"


def _teachers(names, masks, student):
    pairs = [(name, point) for name in names for point in masks.get(name) or ("",)]
    described = []
    for j, (name, point) in enumerate(pairs, 1):
        full = f"{name}.{point}" if point else name
        teacher = {"j": j, "name": full, "member": name, "delta": 0, "point": point, "loss": "KL"}
        if point:
            teacher |= {"feature": [512, 15, 20], "stage": f"sta-{student}-{full}"}
        described.append(teacher)
    return described


def _edges(names, targets, last, mutual):
    edges = [
        {"source": n, "target": s, "kind": "teaches", "loss": "KL", "stage": last[s]}
        for s in targets
        for n in names
        if n != s
    ]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if mutual]
    return edges + [
        {"source": a, "target": b, "kind": "mutual", "loss": "KL", "stage": "ci"} for a, b in pairs
    ]


def _stages(names, teachers, last, mutual):
    described = [t for group in teachers.values() for t in group]
    stages = [("ci", "ci", names)] if mutual else []
    if not mutual:
        masked = [s for s, group in teachers.items() if any(t["point"] for t in group)]
        first = dict.fromkeys([t["member"] for t in described] + masked)
        stages += [(f"pretrain-{name}", "pretrain", [name]) for name in first]
    stages += [(t["stage"], "sta", []) for t in described if t["point"]]
    stages += [(name, name.split("-")[0], [student]) for student, name in last.items()]
    return [{"name": n, "kind": k, "trains": list(t), "needs": []} for n, k, t in stages]
