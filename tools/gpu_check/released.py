"""The schedule of the paper's released code for AV-MNIST, image student, as plain loops.

Written from its description, not copied; it shares networks and MaskNet's parameters with the
package, and no line of the engine. As there, no network is frozen, only left out of the optimiser,
so that every response keeps its graph; all four teachers answer for every sample, and each task
loss is computed, if only to be logged. Its stacked masks are mended: a teacher has its own alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstgraph.distil.gate import Gate
from mstgraph.distil.insertion import inserted
from mstgraph.networks.avmnist import FusedCNN, LeNet5, ThreeLayerCNN
from tools.engine_bench.plain import PlainMaskNet

CLASSES = 10
SHAPES = {"image": (1, 28, 28), "audio": (1, 112, 112)}
POINTS = (
    ("fused", "fusion", (596,)),
    ("fused", "hidden1", (298,)),
    ("audio", "conv2", (64, 56, 56)),
    ("audio", "conv3", (128, 28, 28)),
)
TEMPERATURE = 4.0
RATE = 1e-4


class Released:
    """The networks, and a step of each of the three stages.

    Args:
        batch: samples of a step.
        device: where is computed.
        masknet: further arguments of each MaskNet.
    """

    def __init__(self, batch: int, device: torch.device, masknet: Mapping[str, int]):
        self.device = device
        self.networks: dict[str, nn.Module] = {
            "fused": FusedCNN(SHAPES, CLASSES),
            "audio": ThreeLayerCNN({"audio": SHAPES["audio"]}, CLASSES),
            "image": LeNet5({"image": SHAPES["image"]}, CLASSES),
        }
        self.masks = [PlainMaskNet(shape, **masknet) for _, _, shape in POINTS]
        self.gate = Gate(CLASSES, len(POINTS), dense=False, activation=False)
        for module in (*self.networks.values(), *self.masks, self.gate):
            module.to(device)
        self.inputs = {n: torch.randn(batch, *s, device=device) for n, s in SHAPES.items()}
        self.labels = torch.randint(CLASSES, (batch,), device=device)

    def stages(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield (stage, its step), one stage after the other."""
        yield "CI", self._initialise()
        yield "STA", self._adapt()
        yield "DKD", self._distil()

    def _initialise(self) -> Callable[[], None]:
        optimizer = _adam(*self.networks.values())

        def step() -> None:
            logits = [self._answer(name) for name in self.networks]
            loss = torch.stack([F.cross_entropy(each, self.labels) for each in logits]).sum()
            for teacher, student in itertools.permutations(logits, 2):
                loss = loss + divergence(teacher, student)
            _descend(optimizer, loss)

        return step

    def _adapt(self) -> Callable[[], None]:
        for network in self.networks.values():
            network.eval()
        optimizers = [_adam(mask) for mask in self.masks]

        def step() -> None:
            for number, optimizer in enumerate(optimizers):
                guide = self._answer("image").detach()
                _descend(optimizer, divergence(guide, self._answer(POINTS[number][0], number)))

        return step

    def _distil(self) -> Callable[[], None]:
        for mask in self.masks:
            mask.eval()
        self.networks["image"].train()
        optimizer = _adam(self.networks["image"], self.gate)
        rows = torch.arange(len(self.labels), device=self.device)

        def step() -> None:
            student = self._answer("image")
            teachers = [self._answer(name, j) for j, (name, _, _) in enumerate(POINTS)]
            for teacher in teachers:
                F.cross_entropy(teacher, self.labels)
            confidence = self.gate(student)
            chosen = torch.stack(teachers)[confidence.argmax(1), rows]
            balance = -math.log(len(POINTS)) - confidence.mean(0).log().mean()
            loss = F.cross_entropy(student, self.labels) + divergence(chosen, student) + balance
            _descend(optimizer, loss)

        return step

    def _answer(self, name: str, mask: int | None = None) -> Tensor:
        network = self.networks[name]
        given = self.inputs.values() if name == "fused" else (self.inputs[name],)
        with ExitStack() as own:
            if mask is not None:
                own.enter_context(inserted(network, POINTS[mask][1], self.masks[mask]))
            logits: Tensor = network(*given)
        return logits


def divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """Return τ² KL(softmax(teacher / τ) ‖ softmax(student / τ)), averaged over the batch, []."""
    log_p = F.log_softmax(teacher / TEMPERATURE, 1)
    log_q = F.log_softmax(student / TEMPERATURE, 1)
    return TEMPERATURE**2 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


def _adam(*modules: nn.Module) -> torch.optim.Adam:
    parameters: Sequence[nn.Parameter] = [p for m in modules for p in m.parameters()]
    return torch.optim.Adam(parameters, RATE)


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
