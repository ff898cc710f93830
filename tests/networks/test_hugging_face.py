"""Encoders of transformers, small ones made from a configuration: text, pictures and sound."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from by_name_worlds import roles_are_layers, trains_alike_without_cache

import mstgraph
from mstgraph.networks.hugging_face import HuggingFace
from mstgraph.networks.inputs import Integers
from mstgraph.support.errors import UserError

transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: pip install 'mstgraph[huggingface]'"
)
pytest_plugins = ("training_fixtures",)

SMALL = {
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
SOUND = {
    "conv_dim": (8, 8),
    "conv_stride": (5, 2),
    "conv_kernel": (10, 3),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
MAPS = {
    "num_encoder_blocks": 2,
    "depths": [1, 1],
    "sr_ratios": [2, 1],
    "hidden_sizes": [8, 16],
    "patch_sizes": [7, 3],
    "strides": [4, 2],
    "num_attention_heads": [1, 2],
    "mlp_ratios": [2, 2],
    "decoder_hidden_size": 8,
}
KINDS = {
    "bert": ("BertConfig", {"vocab_size": 20, **SMALL}, Integers((6,)), False),
    "vit": ("ViTConfig", {"image_size": 8, "patch_size": 8, **SMALL}, (1, 16, 24), False),
    "resnet": (
        "ResNetConfig",
        {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic"},
        (3, 16, 16),
        False,
    ),
    "wav2vec2": ("Wav2Vec2Config", {**SMALL, **SOUND}, (1, 400), False),
    "segformer": ("SegformerConfig", MAPS, (3, 32, 32), True),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder for each kind that holds its configuration and nothing else."""
    folder = tmp_path_factory.mktemp("models")
    for name, (config, settings, _, _) in KINDS.items():
        getattr(transformers, config)(**settings).save_pretrained(folder / name)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_encoders_of_every_sense_answer(models: Path, kind: str) -> None:
    """Channels and size come from the data; the roles that are proposed are layers."""
    _, _, shape, dense = KINDS[kind]
    network = HuggingFace({"x": shape}, 5, model=str(models / kind), dense=dense)
    x = torch.ones(2, *shape, dtype=torch.int64 if kind == "bert" else torch.float32)
    assert network(x).shape == ((2, 5, *shape[1:]) if dense else (2, 5))
    if kind != "bert":  # which looks at values, and is asked on the CPU
        roles_are_layers(network, {"x": shape})


def test_padding_is_not_seen(models: Path) -> None:
    """Neither by attention nor by the mean; a mask of the data's own says the same."""
    torch.manual_seed(0)
    network = HuggingFace({"x": Integers((6,))}, 5, model=str(models / "bert")).eval()
    two = HuggingFace({"x": Integers((6,)), "there": (6,)}, 5, model=str(models / "bert")).eval()
    two.load_state_dict(network.state_dict())
    ids = torch.tensor([[3, 4, 5, 0, 0, 0]])
    short = network(ids[:, :3])
    torch.testing.assert_close(network(ids), short)
    other = torch.tensor([[3, 4, 5, 9, 9, 9]])
    torch.testing.assert_close(two(other, torch.tensor([[1.0, 1, 1, 0, 0, 0]])), short)
    assert not torch.allclose(network(other), short)


def test_features_are_the_mean_of_the_last_hidden_state(models: Path) -> None:
    """Of a picture's tokens, by the library's own forward pass."""
    network = HuggingFace({"x": (1, 16, 24)}, 5, model=str(models / "vit")).eval()
    x = torch.rand(2, 1, 16, 24)
    hidden = network.backbone(pixel_values=x).last_hidden_state
    torch.testing.assert_close(network(x), network.classifier(hidden.mean(1)))


def test_no_layer_is_skipped_unless_asked(models: Path) -> None:
    """A layer that training may skip could be no mask point."""
    model = str(models / "wav2vec2")
    assert HuggingFace({"x": (1, 400)}, 5, model).backbone.config.layerdrop == 0
    asked = HuggingFace({"x": (1, 400)}, 5, model, {"layerdrop": 0.5})
    assert asked.backbone.config.layerdrop == 0.5


def test_settings_change_the_configuration(models: Path) -> None:
    """One layer in the place of two, in the double precision that was asked for."""
    network = HuggingFace({"x": Integers((6,))}, 5, str(models / "bert"), {"num_hidden_layers": 1})
    assert len(network.backbone.encoder.layer) == 1


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        ("", (6,), "HuggingFace.model is missing"),
        ("nobody/has-this", (6,), "nothing is loaded from the net"),
        (".", (6,), "is none that transformers knows"),
        ("bert", (6,), "reads token ids, a row of integers, but a sample of modality 'x' is 6"),
        ("vit", (6,), "reads images, channels×height×width"),
        ("vit", Integers((3, 8, 8)), "reads images"),
    ],
)
def test_what_it_refuses(models: Path, model: str, shape: tuple[int, ...], message: str) -> None:
    """In one sentence, without asking the net."""
    named = str(models / model) if model in (".", *KINDS) else model
    with pytest.raises(UserError) as caught:
        HuggingFace({"x": shape}, 5, model=named)
    assert message in str(caught.value)


def test_a_model_that_brings_code_is_refused(tmp_path: Path) -> None:
    """Its code lies beside its configuration, and is not run."""
    (tmp_path / "config.json").write_text(
        '{"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Net"}}'
    )
    (tmp_path / "own.py").write_text("raise SystemExit('this code ran')")
    with pytest.raises(UserError, match="without running the model's own code"):
        HuggingFace({"x": Integers((6,))}, 5, model=str(tmp_path))


GRAPH = """
graph.target = 'text'
Member.network = @HuggingFace
graph.text = @text/Member()
graph.picture = @picture/Member()
text/HuggingFace.model = '{models}/bert'
picture/HuggingFace.model = '{models}/vit'
"""


@pytest.mark.usefixtures("float64")
def test_text_learns_from_pictures(models: Path, tmp_path: Path) -> None:
    """Roles are proposed; what is kept changes nothing; the student reads ids as they are."""
    trains_alike_without_cache(tmp_path, GRAPH.format(models=models))
    torch.set_default_dtype(torch.float32)
    student = mstgraph.load_student(tmp_path / "kept")
    assert student(torch.ones(2, 6, dtype=torch.int32)).shape == (2, 3)
