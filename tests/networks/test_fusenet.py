"""FuseNet and its branch: sizes, fusion by average, unpooling, dropout, initialisation."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstgraph.distil.cuts import Cut
from mstgraph.distil.probing import output_shapes
from mstgraph.networks.fusenet import FuseNet, FuseNetBranch, Pool, Unpool
from mstgraph.support.errors import UserError

RGBD = {"rgb": (3, 480, 640), "depth": (1, 480, 640)}
SMALL = {"rgb": (3, 64, 32), "depth": (1, 64, 32)}
THREE = {**SMALL, "normals": (2, 64, 32)}


def batch(inputs: dict[str, tuple[int, ...]], size: int = 2) -> list[Tensor]:
    """Return random samples of every modality."""
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(size, *shape, generator=generator) for shape in inputs.values()]


@pytest.mark.parametrize(
    ("network", "inputs", "count"),
    [
        (FuseNet, RGBD, 44_188_649),
        (FuseNetBranch, {"rgb": (3, 480, 640)}, 29_466_665),
        (FuseNetBranch, {"depth": (1, 480, 640)}, 29_465_513),
    ],
)
def test_parameters_are_as_many_as_the_reference_counts(network, inputs, count):
    """At width 1 and 41 classes the counts are those of the released networks."""
    with torch.device("meta"):
        built = network(inputs, 41)
    assert sum(value.numel() for value in built.parameters()) == count


def test_mask_points_have_the_papers_sizes():
    """At 480×640 the mask points are 512 channels at the sizes the paper masks."""
    with torch.device("meta"):
        fused, branch = FuseNet(RGBD, 41), FuseNetBranch({"depth": (1, 480, 640)}, 41)
    points = ["fusion", "decoder.stage5", "decoder.stage1", "encoders.rgb.stage1"]
    assert output_shapes(fused, RGBD, [*points, "encoders.depth.stage5"]) == {
        "fusion": (512, 15, 20),
        "decoder.stage5": (512, 30, 40),
        "decoder.stage1": (64, 480, 640),
        "encoders.rgb.stage1": (64, 480, 640),
        "encoders.depth.stage5": (512, 30, 40),
        "": (41, 480, 640),
    }
    names = [f"{part}.stage{level}" for part in ("encoder", "decoder") for level in range(1, 6)]
    shapes = output_shapes(branch, {"depth": (1, 480, 640)}, names)
    encoder = [(64, 480, 640), (128, 240, 320), (256, 120, 160), (512, 60, 80), (512, 30, 40)]
    decoder = [(64, 480, 640), (64, 240, 320), (128, 120, 160), (256, 60, 80), (512, 30, 40)]
    assert [shapes[name] for name in names] == encoder + decoder


def reference(network: FuseNet, samples: list[Tensor]) -> Tensor:
    """Run FuseNet in eval mode written out with torch's functions, stage by stage."""

    def units(stage: nn.Module, x: Tensor) -> Tensor:
        for convolution, norm, _ in stage:
            x = F.conv2d(x, convolution.weight, convolution.bias, padding=1)
            x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)
            x = x.clamp_min(0)
        return x

    main, *auxiliary = samples
    first, *others = network.encoders.values()
    kept = []
    for level in range(1, 6):
        main = units(getattr(first, f"stage{level}"), main)
        auxiliary = [
            units(getattr(encoder, f"stage{level}"), x)
            for encoder, x in zip(others, auxiliary, strict=True)
        ]
        main = torch.stack([main, *auxiliary]).mean(dim=0)
        main, indices = F.max_pool2d(main, 2, return_indices=True)
        auxiliary = [F.max_pool2d(x, 2) for x in auxiliary]
        kept.append(indices)
    for level in range(5, 0, -1):
        stage = getattr(network.decoder, f"stage{level}")
        main = units(stage.units, F.max_unpool2d(main, kept[level - 1], 2))
    return F.conv2d(main, network.classifier.weight, network.classifier.bias, padding=1)


@pytest.mark.parametrize("size", [(2, 2), (2, 6), (8, 2), (6, 512), (4, 1282)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pool_says_where_values_come_from(size, layout):
    """In training by torch's indices, in eval mode by corners in a byte; both lead to one place."""
    x = torch.randn(3, 2, *size).contiguous(memory_format=layout)
    expected, indices = F.max_pool2d(x, 2, return_indices=True)
    trained, in_training = Pool().train()(x)
    pooled, corners = Pool().eval()(x)
    assert torch.equal(in_training, indices)
    assert torch.equal(trained, expected)
    assert torch.equal(pooled, expected)
    assert corners.dtype == torch.uint8
    by_hand = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).argmax(4)
    assert torch.equal(corners.to(torch.int64), by_hand)
    assert torch.equal(Unpool()(pooled, corners), F.max_unpool2d(expected, indices, 2))


def test_a_byte_per_pool_crosses_a_cut():
    """Beside the features at the mask points, so that a frozen network's can be kept."""
    torch.manual_seed(0)
    network = FuseNetBranch({"depth": (1, 64, 32)}, 4, width=0.125).eval()
    points = ("encoder.stage5", "decoder.stage5")
    cut = Cut(network, points)
    (x,) = batch({"depth": (1, 64, 32)})
    with torch.no_grad():
        values = cut.trunk([x])
        whole = network(x)
        for point in points:
            torch.testing.assert_close(cut.tail(point, values, nn.Identity()), whole)
    assert sorted(str(v.dtype) for v in values.values()) == 2 * ["torch.float32"] + 4 * [
        "torch.uint8"
    ]


@pytest.mark.parametrize("inputs", [SMALL, THREE])
def test_forward_equals_a_written_out_reference(inputs):
    """The main stream becomes the average before every pool, and its pools give the indices."""
    torch.manual_seed(0)
    network = FuseNet(inputs, 5, width=1 / 16).double()
    samples = [x.double() for x in batch(inputs)]
    network(*samples)
    network.eval()
    torch.testing.assert_close(network(*samples), reference(network, samples))


def test_fusion_is_the_average_by_hand():
    """With one-channel identity stages the bottleneck is the pooled average, worked by hand."""
    network = FuseNet({"a": (1, 32, 32), "b": (1, 32, 32)}, 2, width=1 / 512).eval()
    for module in network.encoders.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
            module.weight.data[:, :, 1, 1] = 1
    for module in network.encoders.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    seen: list[Tensor] = []
    network.fusion.register_forward_hook(lambda _m, _i, output: seen.append(output))
    network(torch.full((1, 1, 32, 32), 8.0), torch.full((1, 1, 32, 32), 4.0))
    # a: (8+4)/2 = 6, (6+4)/2 = 5, 4.5, 4.25, 4.125; b stays 4.
    assert seen[0].flatten().tolist() == [4.125]


def test_auxiliary_streams_are_not_changed_by_the_main_stream():
    """What the depth encoder computes does not depend on the colours."""
    network = FuseNet(SMALL, 5, width=1 / 16).eval()
    seen: list[Tensor] = []
    network.encoders["depth"].stage5.register_forward_hook(lambda _m, _i, out: seen.append(out))
    rgb, depth = batch(SMALL)
    network(rgb, depth)
    network(-rgb, depth)
    assert torch.equal(seen[0], seen[1])


def test_order_of_inputs_chooses_the_main_stream():
    """The first input is the main one: swapping the order changes the parameters' roles."""
    swapped = dict(reversed(SMALL.items()))
    torch.manual_seed(0)
    network, other = FuseNet(SMALL, 5, width=1 / 16).eval(), FuseNet(swapped, 5, width=1 / 16)
    other.load_state_dict(network.state_dict())
    rgb, depth = batch(SMALL)
    assert not torch.allclose(network(rgb, depth), other.eval()(depth, rgb))


def test_unpool_puts_values_back_where_they_came_from():
    """Unpooling equals torch's own, forward and backward, and is deterministic by torch's rules."""
    x = torch.randn(2, 3, 8, 6, dtype=torch.float64)
    pooled, indices = F.max_pool2d(x, 2, return_indices=True)
    ours, theirs = pooled.clone().requires_grad_(), pooled.clone().requires_grad_()
    weights = torch.randn_like(x)
    expected = F.max_unpool2d(theirs, indices, 2)
    (expected * weights).sum().backward()
    torch.use_deterministic_algorithms(True)
    try:
        output = Unpool()(ours, indices)
        (output * weights).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(output, expected)
    assert torch.equal(ours.grad, theirs.grad)
    assert torch.equal(output[output != 0], x[output != 0])


@pytest.mark.parametrize("inputs", [SMALL, THREE])
def test_every_parameter_learns(inputs):
    """A backward pass at small width reaches all parameters with finite gradients."""
    torch.manual_seed(0)
    network = FuseNet(inputs, 5, width=1 / 16)
    output = network(*batch(inputs))
    assert output.shape == (2, 5, 64, 32)
    F.cross_entropy(output, torch.randint(5, (2, 64, 32))).backward()
    for name, value in network.named_parameters():
        assert value.grad is not None, name
        assert bool(value.grad.isfinite().all()), name


def dropouts(network: nn.Module, samples: list[Tensor]) -> list[tuple[int, ...]]:
    """Return the extents of every tensor that a dropout layer receives, in order."""
    seen: list[tuple[int, ...]] = []
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0].shape[-2:]))
    network(*samples)
    return seen


def test_dropout_is_where_the_reference_puts_it():
    """After pools 3 and 4 (all streams), pool 5, and decoder stages 5, 4 and 3; p = 0.4."""
    network = FuseNet(SMALL, 5, width=1 / 16)
    sizes = [(8, 4), (8, 4), (4, 2), (4, 2), (2, 1), (4, 2), (8, 4), (16, 8)]
    assert dropouts(network, batch(SMALL)) == sizes
    single = FuseNetBranch({"rgb": (3, 64, 32)}, 5, width=1 / 16)
    sizes = [(8, 4), (4, 2), (2, 1), (4, 2), (8, 4), (16, 8)]
    assert dropouts(single, batch({"rgb": (3, 64, 32)})) == sizes
    rates = {part.p for part in network.modules() if isinstance(part, nn.Dropout)}
    assert rates == {0.4}


def test_dropout_acts_in_training_alone():
    """In eval mode a forward pass repeats bit for bit, in training it does not."""
    network = FuseNet(SMALL, 5, width=1 / 16)
    samples = batch(SMALL)
    assert not torch.equal(network(*samples), network(*samples))
    network.eval()
    assert torch.equal(network(*samples), network(*samples))


@pytest.mark.parametrize(
    ("network", "inputs"),
    [(FuseNet, SMALL), (FuseNet, THREE), (FuseNetBranch, {"rgb": (3, 64, 32)})],
)
def test_contract_of_a_network(network, inputs):
    """It runs on the meta device, traces, pickles, and depends on the seed alone."""
    with torch.device("meta"):
        built = network(inputs, 5, width=1 / 16)
        output = built(*(torch.empty(2, *shape) for shape in inputs.values()))
    assert output.shape == (2, 5, 64, 32)
    torch.manual_seed(7)
    built = network(inputs, 5, width=1 / 16).eval()
    torch.manual_seed(7)
    twin = network(inputs, 5, width=1 / 16).eval()
    samples = batch(inputs)
    output = built(*samples)
    for other in (twin, torch.fx.symbolic_trace(built), pickle.loads(pickle.dumps(built))):
        assert torch.equal(other(*samples), output)


def test_branch_is_the_fused_network_fed_twice():
    """With equal encoders and inputs the average changes nothing: FuseNet is its branch."""
    torch.manual_seed(0)
    branch = FuseNetBranch({"a": (1, 32, 32)}, 5, width=1 / 16).eval()
    fused = FuseNet({"a": (1, 32, 32), "b": (1, 32, 32)}, 5, width=1 / 16).eval()
    state = branch.state_dict()
    for name in ("a", "b"):
        for key in [key for key in state if key.startswith("encoder.")]:
            state[key.replace("encoder.", f"encoders.{name}.")] = state[key]
    fused.load_state_dict({key: value for key, value in state.items() if "encoder." not in key})
    x = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(fused(x, x), branch(x))


def test_initialisation_is_kaiming_and_xavier():
    """Encoders have variance 2/fan-in, the decoder 2/(fan-in + fan-out); biases are zero."""
    torch.manual_seed(0)
    network = FuseNet(SMALL, 5, width=1 / 4)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            fan_in, fan_out = 9 * module.in_channels, 9 * module.out_channels
            variance = 2 / fan_in if name.startswith("encoders") else 2 / (fan_in + fan_out)
            assert module.weight.var().item() == pytest.approx(variance, rel=0.35), name
            assert not module.bias.any()
    assert network.initialisation == "encoders Kaiming, decoder Xavier, no pretrained weights"


@pytest.mark.parametrize(("units", "encoder", "decoder"), [(1, 5, 5), (2, 10, 9), (3, 13, 12)])
def test_stages_are_cut_to_their_last_units(units, encoder, decoder):
    """Fewer convolutions, and features of the same sizes: mask points stay what they are."""
    maps = {"rgb": (3, 64, 32)}
    whole, cut = FuseNetBranch(maps, 5), FuseNetBranch(maps, 5, units=units)
    counts = [
        sum(isinstance(module, nn.Conv2d) for module in part.modules())
        for part in (cut.encoder, cut.decoder)
    ]
    assert counts == [encoder, decoder]
    points = [f"{part}.stage{level}" for part in ("encoder", "decoder") for level in range(1, 6)]
    assert output_shapes(cut, maps, points) == output_shapes(whole, maps, points)


def test_copies_share_nothing():
    """A deep copy trains on its own."""
    network = FuseNetBranch({"rgb": (3, 32, 32)}, 5, width=1 / 16)
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin.classifier.weight.add_(1)
    assert not torch.equal(twin.classifier.weight, network.classifier.weight)


@pytest.mark.parametrize(
    ("network", "inputs", "options", "message"),
    [
        (FuseNet, {"rgb": (3, 64, 64)}, {}, "FuseNet takes at least 2 modalities"),
        (FuseNetBranch, SMALL, {}, "FuseNetBranch takes exactly one modality"),
        (
            FuseNet,
            {"rgb": (3, 64, 64), "depth": (1, 60, 64)},
            {},
            "divisible by 32, but a sample of modality 'depth' is 1×60×64",
        ),
        (FuseNetBranch, {"rgb": (3, 64, 0)}, {}, "modality 'rgb' is 3×64×0"),
        (FuseNetBranch, {"text": (768,)}, {}, "takes maps, channels×height×width, but a sample"),
        (
            FuseNet,
            {"rgb": (3, 64, 64), "depth": (1, 32, 64)},
            {},
            "'depth' is 1×32×64 and 'rgb' is 64×64",
        ),
        (FuseNet, SMALL, {"width": 0.0}, "FuseNet.width is 0.0"),
        (FuseNet, SMALL, {"dropout": 1.0}, "FuseNet.dropout is 1.0"),
        (
            FuseNet,
            SMALL,
            {"width": 0.5, "initial_weights": "vgg16.pth"},
            "FuseNet.initial_weights needs FuseNet.width = 1",
        ),
        (FuseNet, SMALL, {"units": 0}, "FuseNet.units is 0, expected at least 1, or None"),
        (
            FuseNet,
            SMALL,
            {"units": 2, "initial_weights": "vgg16.pth"},
            "FuseNet.initial_weights needs FuseNet.units = None",
        ),
    ],
)
def test_what_does_not_fit_is_refused(network, inputs, options, message):
    """A configuration that does not fit is the user's error, naming modality and size."""
    with pytest.raises(UserError) as caught:
        network(inputs, 5, **options)
    assert message in str(caught.value)
