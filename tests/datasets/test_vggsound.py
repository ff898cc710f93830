"""The recipe of VGGSound-50k, on small files in the true formats, and its gin files."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch
from graph_files import run, teachers

from mstgraph.store.build.builder import build
from mstgraph.support.errors import UserError
from tools.student_check.formats import write_clips

N = 15


@pytest.fixture(scope="module")
def vggsound(load_file):
    """Return the recipe's module."""
    return load_file("vggsound")


def name_of(number):
    """Return the name of a clip as the authors name them: a letter, the video's id, the seconds."""
    return f"vid-_{number:07}_30_40_out"


def identity(number):
    """Return the id of a clip's video, 11 characters."""
    return name_of(number)[1:12]


def features(number):
    """Return the features of a clip."""
    rng = np.random.default_rng(number)
    visual = np.zeros((10, 7, 7, 512), np.float32)
    visual[...] = rng.random((10, 1, 7, 512), np.float32)
    return visual, rng.random((10, 128))


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Return a folder of features of 15 clips, named in an order of their own."""
    numbers = [*reversed(range(N))]
    names, classes = [name_of(n) for n in numbers], [n * 9 for n in numbers]
    path = tmp_path_factory.mktemp("features")
    return write_clips(path, names, classes, [features(n) for n in numbers])


def refusal(act):
    """Return the one sentence with which something is refused."""
    with pytest.raises(UserError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_features_become_a_store(vggsound, raw, tmp_path, precision):
    """In the order of the list; channels first for the visual maps, seconds first for audio."""
    recipe = vggsound.VGGSound(raw=raw, precision=precision)
    assert recipe.identifier(0) == name_of(N - 1)
    assert len(recipe.raw_files()) == 1 + 2 * N
    assert recipe.official_splits() == {}
    store = build(recipe, tmp_path / "store")
    visual, audio = features(N - 1 - 4)
    found = store.read("visual", np.array([4]))[0]
    assert found.dtype == precision
    np.testing.assert_array_equal(found, visual.transpose(3, 0, 1, 2).astype(precision))
    np.testing.assert_array_equal(store.read("audio", np.array([4]))[0], audio.astype(np.float32))
    labels = store.read_labels(np.arange(N))
    np.testing.assert_array_equal(labels, np.arange(N)[::-1] * 9)
    assert store.labels_spec.classes == tuple(map(str, range(141)))


@pytest.fixture
def listed(tmp_path):
    """Return a function that writes the list, the table and the features of clip 0."""

    def write(lines, table=()):
        (tmp_path / "VGGS50k_metadata.txt").write_text("\n".join(lines))
        if table:
            (tmp_path / "vggsound-avel50k.csv").write_text("\n".join(table))
        for kind, letter, values in zip(("visual", "audio"), "va", features(0), strict=True):
            folder = tmp_path / f"{kind}_features"
            folder.mkdir(exist_ok=True)
            np.save(folder / f"{name_of(0)}_{letter}Feature.npy", values)
        return tmp_path

    return write


def test_the_table_names_classes_and_split(vggsound, listed):
    """Classes in the order of their first appearance; val is the validation part."""
    rows = [f"{identity(2)},dog,val", f"{identity(0)},rain,train", f"{identity(1)},dog,test"]
    lines = [f"{name_of(0)}&1", f"{name_of(1)}&0", f"{name_of(2)}&0"]
    recipe = vggsound.VGGSound(raw=listed(lines, ["video_id,category,split", *rows]))
    assert recipe.labels().classes == ("dog", "rain")
    assert recipe.sample(0)["label"] == 1
    expected = {"train": [0], "validation": [2], "test": [1]}
    assert recipe.official_splits() == {"official": expected}
    assert any(path.suffix == ".csv" for path in recipe.raw_files())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{name_of(1)}&141", "expected NAME&CLASS with a class from 0 to 140"),
        (f"{name_of(1)}", "expected NAME&CLASS"),
        ("&3", "expected NAME&CLASS"),
        (f"{name_of(0)}&3", f"names the clip {name_of(0)} for the second time"),
    ],
)
def test_wrong_lists_are_refused(vggsound, listed, line, message):
    """A line that names no clip and class, or a clip twice, is named by its number."""
    raw = listed([f"{name_of(0)}&1", "", line])
    found = refusal(lambda: len(vggsound.VGGSound(raw=raw)))
    assert f"line 3 of {raw / 'VGGS50k_metadata.txt'}" in found
    assert message in found


def test_wrong_features_are_refused(vggsound, listed):
    """A missing file and one of another shape are named; so is a folder without features."""
    raw = listed([f"{name_of(0)}&1", f"{name_of(1)}&1"])
    recipe = vggsound.VGGSound(raw=raw)
    path = raw / "visual_features" / f"{name_of(1)}_vFeature.npy"
    assert f"{path} does not exist" in refusal(lambda: recipe.sample(1))
    np.save(path, np.zeros((10, 512, 7, 7), np.float32))
    assert f"{path} is 10×512×7×7; expected 10×7×7×512" in refusal(lambda: recipe.sample(1))
    path.write_bytes(b"nothing")
    assert f"{path} cannot be read" in refusal(lambda: recipe.sample(1))
    (raw / "visual_features").rename(raw / "other")
    message = refusal(lambda: len(vggsound.VGGSound(raw=raw)))
    assert "has VGGS50k_metadata.txt but no folder visual_features/" in message


def test_missing_data_is_refused(vggsound, tmp_path):
    """Without data the message tells what is expected."""
    assert "name with --raw" in refusal(lambda: len(vggsound.VGGSound()))
    message = refusal(lambda: len(vggsound.VGGSound(raw=tmp_path)))
    assert "has neither VGGS50k_metadata.txt nor vggsound-avel50k.csv" in message


def write_video(path, seconds, sound=True):
    """Write a video of 8 pictures a second: the grey of a second s is 20 s, the sound a tone."""
    av = pytest.importorskip("av")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=8)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        for number in range(seconds * 8):
            picture = np.full((48, 64, 3), 20 * (number // 8), np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        if audio is not None:
            tone = np.sin(np.arange(16000 * seconds) * 0.3).astype(np.float32)[None] * 0.5
            for first in range(0, tone.shape[1], 1024):
                piece = np.ascontiguousarray(tone[:, first : first + 1024])
                frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 16000, first
                container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return path


@pytest.fixture
def extractors(monkeypatch):
    """Return options that name two functions: the mean grey, and the loudness of each second."""

    def hear(sound):
        loud = np.sqrt((sound.reshape(10, 16000) ** 2).mean(1))
        return np.repeat(loud[:, None], 128, 1)

    module = types.ModuleType("my_clips")
    module.see = lambda frames: np.full((7, 7, 512), frames.mean())
    module.hear = hear
    module.wrong = lambda given: np.zeros(3)
    monkeypatch.setitem(sys.modules, "my_clips", module)
    return {"visual_extractor": "my_clips:see", "audio_extractor": "my_clips:hear"}


def write_table(path, numbers):
    """Write the table of clips, two classes in turn."""
    rows = [f"{identity(number)},{('rain', 'dog')[number % 2]}" for number in numbers]
    (path / "vggsound-avel50k.csv").write_text("\n".join(["video_id,category", *rows]))


def test_clips_from_their_videos(vggsound, tmp_path, extractors):
    """Clips without a video are left out; seconds are those of the clip, the last frame stays."""
    write_table(tmp_path, [2, 1, 0, 3])
    write_video(tmp_path / "videos" / f"{name_of(1)}.mp4", 12)
    write_video(tmp_path / "videos" / "more" / f"{identity(0)}_30.mp4", 4)
    recipe = vggsound.VGGSound(raw=tmp_path, **extractors)
    assert [recipe.identifier(index) for index in range(len(recipe))] == [identity(1), identity(0)]
    assert recipe.labels().classes == ("rain", "dog")
    assert len(recipe.raw_files()) == 3
    long, short = recipe.sample(0), recipe.sample(1)
    assert (long["label"], short["label"]) == (1, 0)
    np.testing.assert_allclose(long["visual"][0, :, 0, 0], 20 * np.arange(10), atol=2)
    seconds = np.minimum(np.arange(10), 3)
    np.testing.assert_allclose(short["visual"][5, :, 6, 6], 20 * seconds, atol=2)
    np.testing.assert_allclose(long["audio"][:, 0], 0.5 / np.sqrt(2), atol=0.03)
    np.testing.assert_allclose(short["audio"][:4, 9], 0.5 / np.sqrt(2), atol=0.03)
    assert not short["audio"][5:].any()


def test_frames_of_a_second(vggsound, tmp_path):
    """Sixteen frames a second, of which each of a video of eight is shown twice."""
    seconds = vggsound.read_seconds(write_video(tmp_path / "a.mp4", 3))
    assert [frames.shape for frames in seconds] == [(16, 224, 224, 3)] * 10
    assert seconds[1].dtype == np.uint8
    np.testing.assert_allclose(seconds[1].mean((1, 2, 3)), 20, atol=2)


def test_unreadable_videos_are_refused(vggsound, tmp_path):
    """What is no video, and a video without sound, is named."""
    pytest.importorskip("av")
    (tmp_path / "b.mp4").write_bytes(b"no video")
    for read in (vggsound.read_seconds, vggsound.read_sound):
        assert "b.mp4 cannot be read" in refusal(lambda read=read: read(tmp_path / "b.mp4"))
    silent = write_video(tmp_path / "c.mp4", 1, sound=False)
    message = refusal(lambda: vggsound.read_sound(silent))
    assert message == f"the video {silent} has no sound"


def test_wrong_raw_files_are_refused(vggsound, tmp_path, extractors):
    """A table without its columns, no videos, and extractors that give other features."""

    def told(act=len, **options):
        return refusal(lambda: act(vggsound.VGGSound(raw=tmp_path, **(extractors | options))))

    (tmp_path / "vggsound-avel50k.csv").write_text("video,category\n")
    assert "no column 'video_id'; did you mean 'video'?" in told()
    (tmp_path / "vggsound-avel50k.csv").write_text("video_id,category\nabc\n")
    assert "line 2 of" in told()
    write_table(tmp_path, [0])
    assert "videos does not exist" in told()
    (tmp_path / "videos").mkdir()
    assert "has no video of a clip that" in told()
    write_video(tmp_path / "videos" / f"{identity(0)}.mp4", 1)
    message = told(lambda recipe: recipe.sample(0), audio_extractor="my_clips:wrong")
    assert "the audio extractor gives 3 for" in message
    assert "expected 10×128" in message
    message = told(lambda recipe: recipe.sample(0), audio_extractor=None)
    assert "expected the option audio_extractor to name one" in message
    message = told(lambda recipe: recipe.sample(0), visual_extractor="my_clips:wrong")
    assert "the visual extractor gives 10×3 for" in message


class Network(torch.nn.Module):
    """A stand-in for VGG19: an average pool to 7×7 and 512 channels."""

    def __init__(self):
        super().__init__()
        self.features = torch.nn.Sequential(torch.nn.AvgPool2d(32), Repeated())


class Repeated(torch.nn.Module):
    """Three channels, again and again, up to 512."""

    def forward(self, x):
        """Return [batch, 512, 7, 7]."""
        return x.repeat(1, 171, 1, 1)[:, :512]


def test_maps_of_vgg19_are_averaged_over_frames(vggsound, monkeypatch):
    """Normalised as for ImageNet, channels last, the mean of the frames of a second."""
    models = types.ModuleType("torchvision.models")
    models.vgg19 = lambda weights: Network()
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    frames = np.random.default_rng(0).integers(0, 256, (16, 224, 224, 3), np.uint8)
    found = vggsound.VGG19(None)(frames)
    assert found.shape == (7, 7, 512)
    corner = frames[:, 32:64, :32].mean((0, 1, 2)) / 255
    expected = (corner - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    np.testing.assert_allclose(found[1, 0, 3:6], expected, atol=1e-4)


def test_missing_packages_are_named(vggsound, tmp_path, monkeypatch):
    """The message says what to install."""
    monkeypatch.setitem(sys.modules, "av", None)
    message = refusal(lambda: vggsound.read_seconds(tmp_path / "a.mp4"))
    assert "needs av: pip install 'mstgraph[audio,video]'" in message
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    message = refusal(lambda: vggsound.VGG19(None))
    assert "needs torchvision: pip install torchvision" in message


@pytest.mark.parametrize(
    ("student", "other", "index"), [("visual", "audio", 2), ("audio", "visual", 1)]
)
def test_gin_files_derive_four_teachers(raw, student, other, index):
    """Two of the fused member at the paper's mask points, two of the other modality."""
    found = teachers(f"vggsound_{student}.gin", raw)
    pairs = [(0, "fused"), (index, other)]
    assert found == [(*pair, point) for pair in pairs for point in ("hidden1", "hidden2")]


def test_a_short_run_reaches_its_summary(raw, tmp_path):
    """The whole graph trains on true-format features, two batches an epoch."""
    narrow = ["ThreeLayerCNN3d.channels = (8, 6, 4)", "FusedClips.clip_channels = (8, 6, 4)"]
    bindings = ["data.batch_size = 5", "MaskNet.factor = 20", *narrow]
    summary = run("vggsound_visual.gin", raw, tmp_path, *bindings)
    assert set(summary["students"]) == {"visual"}
    assert len(summary["routing"]["visual"]) == 4


def test_options_without_effect_are_refused(vggsound, raw):
    """What is asked of videos is not silently left undone on features."""
    recipe = vggsound.VGGSound(raw=raw, audio_extractor="my:ears")
    assert "option 'audio_extractor' of VGGSound-50k has no effect" in refusal(lambda: len(recipe))


def test_texts_in_another_encoding_are_refused(vggsound, listed):
    """A table that is no UTF-8 is named; in the list, the line is."""
    raw = listed([f"{name_of(0)}&1"])
    (raw / "vggsound-avel50k.csv").write_bytes(b"video_id,category\nabc,caf\xe9\n")
    assert "cannot be read as text in UTF-8" in refusal(lambda: len(vggsound.VGGSound(raw=raw)))
    (raw / "vggsound-avel50k.csv").unlink()
    (raw / "VGGS50k_metadata.txt").write_bytes(b"\xff\xfe\n")
    assert "line 1 of" in refusal(lambda: len(vggsound.VGGSound(raw=raw)))
