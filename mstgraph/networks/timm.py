"""Any image model of timm (Wightman, https://github.com/huggingface/pytorch-image-models)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gin
from torch import Tensor, nn

from mstgraph.networks import inputs as check
from mstgraph.networks.by_name import Headed, Standardise, check_map, check_name, library


class _LastMap(nn.Module):
    """The last of the maps that a model of timm gives."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, channels, height, width] float."""
        return self.model(x)[-1]


@gin.configurable
class Timm(Headed):
    """A model of timm without its classifier, and one of ours; weights are random.

    The number of channels, and the size where the model is made for one, come from the data. Mask
    points: ``features`` (what the classifier sees) and the model's own, ``backbone.…``.

    Args:
        inputs: the one modality and its shape, ``{name: (channels, height, width)}``.
        num_outputs: number of outputs.
        model: its name, as ``timm.list_models()`` has it.
        options: more of what ``timm.create_model`` takes, ``{'drop_path_rate': 0.1}``.
        normalise: whether to apply the mean and standard deviation that the model's weights were
            trained with, which are of values from 0 to 1 (``data.normalisation = 'minmax'``);
            False takes the input as it is normalised already.
        dense: an answer for every pixel, from the model's last map.

    Raises:
        UserError: timm is missing, has no such model, or the modality is no map.
    """

    def __init__(
        self,
        inputs: check.Shapes,
        num_outputs: int,
        model: str = "",
        options: Mapping[str, Any] | None = None,
        normalise: bool = False,
        dense: bool = False,
    ) -> None:
        timm = library("Timm", "timm", "timm")
        channels, height, width = check_map("Timm", inputs)
        check_name("Timm", model.partition(".")[0], timm.list_models())
        card = timm.get_pretrained_cfg(model) or timm.models.PretrainedCfg()
        given = {"in_chans": channels, **(options or {})}
        if card.fixed_input_size:
            given.setdefault("img_size", (height, width))
        if dense:
            given |= {"features_only": True, "out_indices": (-1,)}
        else:
            given["num_classes"] = 0
        backbone = timm.create_model(model, pretrained=False, **given)
        features = backbone.feature_info.channels()[-1] if dense else _features(backbone)
        super().__init__(
            _LastMap(backbone) if dense else backbone,
            features,
            num_outputs,
            dense,
            Standardise(card.mean, card.std, channels) if normalise else None,
        )


def _features(backbone: Any) -> int:
    """Return how many features come out; some models have a layer between the last map and them."""
    return int(getattr(backbone, "head_hidden_size", None) or backbone.num_features)
