"""Time and memory of MaskNet's fold against Eq. 6 written with torch's own attention.

One training step (forward and backward) of a MaskNet on a vector of d features, for several d. The
variants share parameters and are timed in turn, so that a slow moment of the machine hits them
alike; medians are shown. Peak memory is that of one step in a fresh process, above what the module
and its input take (Linux only).

    python tools/bench_masknet.py
    python tools/bench_masknet.py --features 84 298 --json
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from mstgraph.distil.masknet import MaskNet


def folded(masknet: MaskNet, z: Tensor) -> Tensor:
    """Return the masked feature as the package computes it."""
    return masknet(z)


def fused(masknet: MaskNet, z: Tensor) -> Tensor:
    """Return the masked feature through torch's fused attention, which keeps no weights."""
    return _through_attention(masknet, z, need_weights=False)


def weights_kept(masknet: MaskNet, z: Tensor) -> Tensor:
    """Return the masked feature through torch's attention as a plain call runs it."""
    return _through_attention(masknet, z, need_weights=True)


def _through_attention(masknet: MaskNet, z: Tensor, *, need_weights: bool) -> Tensor:
    tokens = masknet.projector(z).unflatten(1, (-1, masknet.attention.embed_dim))
    attended, _ = masknet.attention(tokens, tokens, tokens, need_weights=need_weights)
    return torch.sigmoid(masknet.linear(attended).squeeze(-1)) * z


VARIANTS: dict[str, Callable[[MaskNet, Tensor], Tensor]] = {
    "folded": folded,
    "torch, fused": fused,
    "torch, plain call": weights_kept,
}


def build(features: int, batch: int) -> tuple[MaskNet, Tensor]:
    """Return a MaskNet and its input, [batch, features]."""
    torch.manual_seed(0)
    return MaskNet((features,)), torch.randn(batch, features)


def step(variant: str, masknet: MaskNet, z: Tensor) -> float:
    """Run one forward and backward pass and return its seconds."""
    masknet.zero_grad()
    start = time.perf_counter()
    VARIANTS[variant](masknet, z).square().sum().backward()
    return time.perf_counter() - start


def status_mebibytes(field: str) -> float | None:
    """Return one memory field of this process in MiB, None where the system has no such file."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), None)


def peak(variant: str, features: int, batch: int, threads: int) -> float | None:
    """Return the MiB that a first step takes above the built module; runs in a fresh process."""
    torch.set_num_threads(threads)
    masknet, z = build(features, batch)
    before = status_mebibytes("VmRSS")
    step(variant, masknet, z)
    after = status_mebibytes("VmHWM")
    return None if before is None or after is None else after - before


def measure(features: int, batch: int, rounds: int, threads: int) -> list[dict[str, object]]:
    """Return one row per variant."""
    masknet, z = build(features, batch)
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for round_ in range(rounds + 1):
        for name, values in seconds.items():
            elapsed = step(name, masknet, z)
            if round_:  # the first round warms up
                values.append(elapsed)
    parameters = sum(value.numel() for value in masknet.parameters())
    del masknet, z
    fastest = statistics.median(seconds["folded"])
    rows: list[dict[str, object]] = []
    for name, values in seconds.items():
        # One task a process: the peak of a process never goes down.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            mebibytes = pool.apply(peak, (name, features, batch, threads))
        rows.append(
            {
                "features": features,
                "parameters": parameters,
                "variant": name,
                "milliseconds": 1000 * statistics.median(values),
                "over_folded": statistics.median(values) / fastest,
                "peak_mebibytes": mebibytes,
            }
        )
    return rows


def show(row: dict[str, object]) -> str:
    """Return one line of the table."""
    memory = row["peak_mebibytes"]
    shown = "n/a" if memory is None else f"{memory:,.0f}"
    return (
        f"{row['features']:>8} {row['parameters']:>12,}  {row['variant']:<18}"
        f"{row['milliseconds']:>10,.1f} {row['over_folded']:>9.2f} {shown:>10}"
    )


def main() -> None:
    """Measure and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--features", type=int, nargs="+", default=[84, 298, 596], metavar="D")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default 5)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if not arguments.json:
        print(f"batch {arguments.batch}, {arguments.threads} thread(s), forward and backward")
        print("features   parameters  variant                   ms  ÷ folded  peak, MiB")
    collected = []
    for features in arguments.features:
        rows = measure(features, arguments.batch, arguments.rounds, arguments.threads)
        collected += rows
        if not arguments.json:
            print("\n".join(map(show, rows)), flush=True)
    if arguments.json:
        print(json.dumps({"batch": arguments.batch, "rows": collected}, indent=2))


if __name__ == "__main__":
    main()
