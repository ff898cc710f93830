"""Batch normalisation that a last, small batch cannot stop."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm


class BatchNorm(_BatchNorm):
    """Batch normalisation of [batch, channels, ...], whatever follows the channels.

    Where a batch holds one value of each channel, which has no variance, the running statistics
    are taken; torch's own refuses to train on it.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised input."""
        if input.numel() > input.shape[1]:
            return super().forward(input)
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of extents will do."""
