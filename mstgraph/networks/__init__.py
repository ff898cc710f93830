"""Networks: one file per backbone; being in this folder is enough to be found.

A network is a ``@gin.configurable`` module built as ``Network(inputs, num_outputs, **options)``:
``inputs`` maps each modality to the shape of one sample, in the member's order, and
``num_outputs`` is the number of classes. ``forward`` takes one normalised float tensor per
modality in that order, [batch, *shape], or int64 where the recipe says that it holds integers, and
returns logits, [batch, num_outputs] or [batch, num_outputs, height, width]. It builds and runs on
the meta device, is traceable by ``torch.fx``, and draws its initial weights from torch's global
generator. What it reads from a file is named by one of its settings: a file that it opens by itself
cannot be seen, and a stage would be used again though it has changed.

A property ``roles``, if it has one, proposes which of its layers play the roles of a member's
(`mstgraph.networks.roles`).
"""
