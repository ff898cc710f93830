"""Any encoder of Hugging Face's transformers: over token ids, images or sound.

What is read is a configuration, from a folder or from the cache: nothing is loaded from the net,
and no code that comes with a model is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gin
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstgraph.networks import inputs as check
from mstgraph.networks.by_name import library
from mstgraph.networks.roles import Roles, last_blocks, layer_roles
from mstgraph.support.errors import UserError, in_words
from mstgraph.support.text import shape_in_words

TOKENS, PICTURES, WAVES, SPECTRA = "input_ids", "pixel_values", "input_values", "input_features"


@gin.configurable
class HuggingFace(nn.Module):
    """An encoder of transformers (``AutoModel``) with a classifier of ours; weights are random.

    The features are the mean of the last hidden state over tokens, or over places of a map; of
    text, over those tokens that are no padding, which attention does not see either. Mask points:
    ``features`` (what the classifier sees) and the model's own, ``backbone.…``.

    Args:
        inputs: the modality and its shape: ``(tokens,)`` of integers, ``(channels, height,
            width)`` for images, ``(times,)`` or what else the model takes for sound. A second
            one, of the shape of the tokens, says which of them count (above 0), in the place of
            those that are not the configuration's ``pad_token_id``.
        num_outputs: number of outputs.
        model: a folder that holds ``config.json``, or a name whose files are in the cache.
        settings: what to change of its configuration, ``{'num_hidden_layers': 2}``.
        dense: an answer for every pixel, by the library's ``AutoModelForSemanticSegmentation``.

    Raises:
        UserError: transformers is missing; there is no such configuration; or the model reads
            something else than the modality is.
    """

    def __init__(
        self,
        inputs: check.Shapes,
        num_outputs: int,
        model: str = "",
        settings: Mapping[str, Any] | None = None,
        dense: bool = False,
    ) -> None:
        super().__init__()
        check.check_count("HuggingFace", inputs, 1)
        transformers = library("HuggingFace", "transformers", "huggingface")
        modality, shape = next(iter(inputs.items()))
        config = _configuration(transformers, model, dict(settings or {}))
        if hasattr(config, "layerdrop") and "layerdrop" not in (settings or {}):
            config.layerdrop = 0.0  # a layer that training may skip is no mask point
        if len(shape) == 3:
            _fit_pictures(config, shape)
        if dense:
            config.num_labels = num_outputs
        kind = transformers.AutoModelForSemanticSegmentation if dense else transformers.AutoModel
        self.backbone = _from_configuration(kind, config, model)
        self.reads = str(self.backbone.main_input_name)
        _check_reads(self.reads, modality, shape, model)
        if len(inputs) > (2 if self.reads == TOKENS else 1):
            raise UserError(f"HuggingFace.model '{model}' reads one modality, not {len(inputs)}")
        self.padding = getattr(config, "pad_token_id", None)
        self.dense = dense
        if not dense:
            self.features = nn.Identity()
            self.classifier = nn.Linear(_width(config, model), num_outputs)

    @property
    def roles(self) -> Roles:
        """The backbone's last two blocks, and the features."""
        prefix = f"backbone.{self.backbone.base_model_prefix}" if self.dense else "backbone"
        blocks = tuple(f"{prefix}.{name}" for name in last_blocks(self.get_submodule(prefix)))
        return layer_roles(blocks, blocks[-1] if self.dense else "features")

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits, [batch, num_outputs] or [batch, num_outputs, height, width] float."""
        x = inputs[0]
        if self.reads == TOKENS:
            return self.classifier(self.features(self._of_tokens(*inputs)))
        if self.dense:
            logits = self.backbone(pixel_values=x).logits
            return F.interpolate(logits, size=x.shape[2:], mode="bilinear")
        if self.reads != PICTURES and x.dim() > 2 and x.shape[1] == 1:
            x = x.squeeze(1)  # one channel of sound: [1, times] or [1, frames, bands]
        hidden = self.backbone(**{self.reads: x}).last_hidden_state
        places = (2, 3) if hidden.dim() == 4 else (1,)
        return self.classifier(self.features(hidden.mean(places)))

    def _of_tokens(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mean over the tokens that count, [batch, width] float."""
        if mask is not None:
            there = mask > 0
        else:
            there = torch.ones_like(ids) > 0 if self.padding is None else ids != self.padding
        hidden = self.backbone(input_ids=ids, attention_mask=there.long()).last_hidden_state
        counted = there.to(hidden.dtype).unsqueeze(-1)
        return (hidden * counted).sum(1) / counted.sum(1).clamp(min=1)


def _configuration(transformers: Any, model: str, settings: dict[str, Any]) -> Any:
    if not model:
        raise UserError(
            "HuggingFace.model is missing, expected a folder that holds config.json, or the name "
            "of a model whose files are in the cache"
        )
    try:
        return transformers.AutoConfig.from_pretrained(
            model, local_files_only=True, trust_remote_code=False, **settings
        )
    except OSError as error:
        raise UserError(
            f"HuggingFace.model is '{model}', which is neither a folder that holds config.json nor "
            "in the cache of Hugging Face; nothing is loaded from the net: load it first, or name "
            "a folder"
        ) from error
    except (ValueError, KeyError) as error:
        raise UserError(
            f"HuggingFace.model is '{model}', whose configuration is none that transformers knows "
            f"without running the model's own code: {in_words(error)}"
        ) from error


def _from_configuration(kind: Any, config: Any, model: str) -> nn.Module:
    try:
        made: nn.Module = kind.from_config(config, trust_remote_code=False)
    except ValueError as error:
        raise UserError(
            f"HuggingFace.model is '{model}', of which no {kind.__name__} can be made: "
            f"{in_words(error)}"
        ) from error
    return made.to(torch.get_default_dtype())  # whatever type its weights were stored in


def _fit_pictures(config: Any, shape: tuple[int, ...]) -> None:
    """Channels and size come from the data."""
    channels, height, width = shape
    for option, value in (("num_channels", channels), ("image_size", (height, width))):
        if hasattr(config, option):
            setattr(config, option, value)


def _check_reads(reads: str, modality: str, shape: tuple[int, ...], model: str) -> None:
    given = f"a sample of modality '{modality}' is {shape_in_words(shape)}"
    wanted = {
        TOKENS: ("token ids, a row of integers", len(shape) == 1),
        PICTURES: ("images, channels×height×width", len(shape) == 3),
        WAVES: ("sound", len(shape) <= 3),
        SPECTRA: ("spectrograms of sound", len(shape) in (2, 3)),
    }
    words, fits = wanted.get(reads, (reads, False))
    whole = isinstance(shape, check.Integers)
    if not fits or whole is not (reads == TOKENS):
        numbers = "integers" if whole else "no integers (Modality.integers of its recipe)"
        raise UserError(f"HuggingFace.model '{model}' reads {words}, but {given}, {numbers}")


def _width(config: Any, model: str) -> int:
    for option in ("hidden_size", "d_model"):
        if isinstance(width := getattr(config, option, None), int):
            return width
    if sizes := getattr(config, "hidden_sizes", None):
        return int(sizes[-1])
    raise UserError(
        f"HuggingFace.model is '{model}', whose configuration does not say how wide its features "
        "are, expected an encoder of one modality"
    )
