"""What a stage works with: teachers, parts with weights, responses, and a batch as it sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor, nn

from mstgraph.methods.loss import Edge, EdgeLoss, ResponseLoss

RESPONSE = ".response"  # the logits among a network's outputs; the others are layers, by path


@dataclass(frozen=True)
class Teacher:
    """Specialised teacher j of a student (Eq. 5–9), or a plain one if it has no mask point.

    Attributes:
        index: j, from 1.
        member: the member δ(j) it is made from (Eq. 7).
        point: its mask point; empty for a plain, unmasked teacher.
        loss: loss of its edge to the student.
    """

    index: int
    member: str
    point: str
    loss: EdgeLoss

    @property
    def name(self) -> str:
        """A name that does not change when other teachers come and go."""
        return f"{self.member}.{self.point}" if self.point else self.member


@dataclass(frozen=True)
class Part:
    """Something with weights: a member's network, a MaskNet, a gate, or what a loss trains.

    Attributes:
        kind: what it is.
        member: whose network it is, whose feature it masks, whose logits the gate reads, or whose
            edge an adapter belongs to.
        point: mask point of a MaskNet, or of the teacher that an adapter belongs to.
        student: whose language a MaskNet learns, whom a gate or an adapter serves.
    """

    kind: Literal["network", "masknet", "gate", "adapter"]
    member: str
    point: str = ""
    student: str = ""

    @property
    def name(self) -> str:
        """A name unique in the plan, fit for a file."""
        if self.kind == "network":
            return self.member
        return ".".join(filter(None, (self.kind, self.student, self.member, self.point)))


@dataclass(frozen=True)
class Forward:
    """How a response is computed: a member's network, possibly with a MaskNet at one point.

    Attributes:
        member: whose network answers.
        masknet: name of the MaskNet's part; empty for none.
        point: where it is inserted.
        taps: layers whose outputs are wanted beside the logits.
    """

    member: str
    masknet: str = ""
    point: str = ""
    taps: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of all parts that the response depends on."""
        return (self.member, self.masknet) if self.masknet else (self.member,)


@dataclass(frozen=True)
class Trunk:
    """What comes before all masks of a member's frozen network: what crosses the cuts there.

    Attributes:
        member: whose network.
    """

    member: str

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of all parts that it depends on."""
        return (self.member,)


@dataclass(frozen=True)
class FrozenTrunk:
    """What comes before all that trains of a member with frozen modules: what crosses the cut.

    Attributes:
        member: whose network.
    """

    member: str

    @property
    def parts(self) -> tuple[str, ...]:
        """Nothing that it depends on is ever trained."""
        return ()


Question = Forward | Trunk | FrozenTrunk
"""What networks can be asked about a batch."""


class Batch(Protocol):
    """One batch for one stage: labels, and responses that are computed when asked for.

    Attributes:
        labels: [batch] or [batch, height, width] int64; [batch, places] where they are vectors.
    """

    labels: Tensor

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def module(self, name: str) -> nn.Module:
        """Return a part of the stage, such as the gate."""
        ...

    def response(self, name: str, anew: bool = False) -> Tensor:
        """Return logits, [batch, num_outputs] or [batch, num_outputs, height, width] float.

        Args:
            name: whose.
            anew: compute them again, for a stage that changes a part between two calls.
        """
        ...

    def responses(self, names: Sequence[str], chosen: Tensor) -> Sequence[Tensor]:
        """Return what each sample's first, second, … choice answers, [batch, ...] float each.

        What is not kept is computed for the samples that chose it alone.

        Args:
            names: the N responses to choose from.
            chosen: [batch, k] int64, indices into them, each once per sample.
        """
        ...

    def features(self, name: str, roles: Sequence[str]) -> Mapping[str, tuple[Tensor, ...]]:
        """Return role → what the layers return that play it, [batch, ...] float each."""
        ...

    def edge(self, teacher: Teacher) -> Edge:
        """Return what the loss of a teacher's edge to the student sees of the batch.

        It sees the samples that both take part in.
        """
        ...

    def edge_losses(self, teacher: Teacher, hint: bool = False) -> Tensor:
        """Return the loss of a teacher's edge for each sample, [batch]; or [] if of the whole.

        It is 0 for a sample that the two do not both take part in.

        Args:
            teacher: where the edge begins.
            hint: take `EdgeLoss.hint` in the place of `EdgeLoss.edge`.
        """
        ...

    def edge_loss(self, teacher: Teacher) -> Tensor:
        """Return the loss of a teacher's edge to the student, averaged over the batch, [] float."""
        ...

    def there(self, *names: str) -> Tensor | None:
        """Return in which samples all of some responses take part, [batch] bool; None: in all.

        One that has not what it sees of a sample answers 0 to it, which nobody must count.
        """
        ...

    def each_there(self, names: Sequence[str]) -> Tensor | None:
        """Return in which samples each response takes part, [batch, N] bool; None: in all."""
        ...

    def labelled(self) -> Tensor:
        """Return which samples have a label, of some pixel at least, [batch] bool."""
        ...

    def task_loss(self, name: str) -> Tensor:
        """Return the task loss of a response for each sample, [batch] float.

        It is 0 for a sample that the response takes no part in.
        """
        ...

    def combine(self, responses: Sequence[Tensor], weights: Tensor) -> Tensor:
        """Return several teachers' responses as one, see `mstgraph.tasks.task.Task.combine`."""
        ...

    def uncertainty(self, response: Tensor) -> Tensor:
        """Return how unsure a response is of each sample, [batch] float."""
        ...

    def agreement(self, one: Tensor, other: Tensor) -> Tensor:
        """Return how much two responses agree, 0 to 1: [batch] or, if dense, per pixel."""
        ...

    def divergence(self, loss: ResponseLoss, teacher: Tensor, student: Tensor) -> Tensor:
        """Return a loss between two responses for each sample, [batch] float."""
        ...

    def average(self, values: Tensor) -> Tensor:
        """Average values per pixel over each sample's labelled pixels, → [batch] float."""
        ...

    def mean(self, values: Tensor, there: Tensor | None = None) -> Tensor:
        """Average over the samples that take part, [batch, ...] → [...]; 0 if none does.

        A value of the whole batch, [], stays.

        Args:
            values: of each sample.
            there: which samples have what is asked for, [batch] bool, see `there`; None: all.
        """
        ...

    def labelled_mean(self, values: Tensor, there: Tensor | None = None) -> Tensor:
        """Average over the samples with a label, [batch] → []; 0 if there is none."""
        ...

    def sum_of_means(
        self, values: Sequence[Tensor], there: Sequence[Tensor | None], labelled: bool = False
    ) -> Tensor:
        """Return the sum of means, each over its own samples, [].

        Args:
            values: [batch] float each.
            there: which samples each is a mean over, as for `mean`.
            labelled: whether samples without a label are left out.
        """
        ...

    def count(self, there: Tensor | None) -> Tensor | None:
        """Return how many samples `mean` is over, [] int64; None where all are, as for `Term`."""
        ...

    def labelled_count(self, there: Tensor | None = None) -> Tensor | None:
        """Return how many samples `labelled_mean` is over, [] int64; None where all are."""
        ...

    def total(self, values: Tensor, there: Tensor | None = None) -> Tensor:
        """Add up over the samples that take part, [batch, ...] → [...] float."""
        ...
