"""The recipe of RAVDESS, on small files in the true formats, and its gin files."""

from __future__ import annotations

import sys
import types
import wave
from fractions import Fraction

import numpy as np
import pytest
from graph_files import teachers

from mstgraph.store.build.builder import build
from mstgraph.support.errors import UserError
from tools.student_check.formats import write_arrays

N = 15
RATE = 22050


@pytest.fixture(scope="module")
def ravdess(load_file):
    """Return the recipe's module."""
    return load_file("ravdess")


@pytest.fixture(scope="module")
def arrays():
    """Return the three arrays by name; the colours of the video are blue, green, red."""
    rng = np.random.default_rng(0)
    video = np.zeros((N, 15, 3, 224, 224), np.uint8)
    video[...] = rng.integers(0, 256, (N, 15, 3, 1, 224), np.uint8)
    audio = rng.normal(size=(N, 15, 156)).astype(np.float32)
    return {"video_data": video, "audio_data": audio, "label_data": np.arange(N) % 8}


def refusal(act):
    """Return the one sentence with which something is refused."""
    with pytest.raises(UserError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_arrays_become_a_store(ravdess, arrays, tmp_path):
    """Channels come before frames, in the order red, green, blue."""
    raw = write_arrays(tmp_path / "raw", arrays)
    store = build(ravdess.RAVDESS(raw=raw), tmp_path / "store")
    found = store.read("visual", np.array([3, 7]))
    np.testing.assert_array_equal(found, arrays["video_data"][[3, 7], :, ::-1].swapaxes(1, 2))
    np.testing.assert_array_equal(store.read("audio", np.arange(N)), arrays["audio_data"])
    np.testing.assert_array_equal(store.read_labels(np.arange(N)), np.arange(N) % 8)
    assert store.labels_spec.classes[4] == "angry"
    plain = ravdess.RAVDESS(raw=raw, colours="rgb").sample(3)["visual"]
    np.testing.assert_array_equal(plain, arrays["video_data"][3].swapaxes(0, 1))
    assert ravdess.RAVDESS(raw=raw).official_splits() == {}


def test_floating_videos_must_hold_bytes(ravdess, arrays, tmp_path):
    """Integers in a floating type are taken, scaled values are refused with the clip's number."""
    small = {name: values[:3] for name, values in arrays.items()}
    whole = {**small, "video_data": small["video_data"].astype(np.float32)}
    sample = ravdess.RAVDESS(raw=write_arrays(tmp_path, whole)).sample(2)["visual"]
    assert sample.dtype == np.uint8
    np.testing.assert_array_equal(sample, small["video_data"][2, :, ::-1].swapaxes(0, 1))
    write_arrays(tmp_path, {"video_data": whole["video_data"] / 255})
    message = refusal(lambda: ravdess.RAVDESS(raw=tmp_path).sample(1))
    assert "clip 1 of" in message
    assert "no integers from 0 to 255" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video_data": np.zeros((2, 15, 224, 224, 3), np.uint8)}, "expected N×15×3×224×224"),
        ({"audio_data": np.zeros((2, 15, 155))}, "audio_data.npy is 2×15×155; expected N×15×156"),
        ({"audio_data": np.zeros((3, 15, 156))}, "the numbers of samples differ: 2 in"),
        ({"label_data": np.array([1, 8])}, "label 1 of"),
    ],
)
def test_wrong_arrays_are_refused(ravdess, tmp_path, change, message):
    """Shapes, numbers of samples and labels that cannot be are refused by file."""
    plain = {"video_data": np.zeros((2, 15, 3, 224, 224), np.uint8)}
    plain |= {"audio_data": np.zeros((2, 15, 156)), "label_data": np.zeros(2, int)}
    recipe = ravdess.RAVDESS(raw=write_arrays(tmp_path, plain | change))
    assert message in refusal(lambda: len(recipe))


def write_tone(path, seconds, pitch=440.0):
    """Write a WAV file of one tone that begins loud and fades."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * RATE)) / RATE
    values = np.sin(2 * np.pi * pitch * time) * np.linspace(0.9, 0.1, len(time))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((values * 32767).astype("<i2").tobytes())


def write_video(path, frames, rate=30, shown=None):
    """Write a video: frame k is of the grey 2 k, with a red square of 32 pixels in a corner.

    Frame k is shown at k / rate seconds, or at ``shown[k]`` hundredths of a second.
    """
    av = pytest.importorskip("av")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.bit_rate = 4_000_000
        if shown:
            stream.codec_context.time_base = Fraction(1, 100)
        for number in range(frames):
            picture = np.full((64, 96, 3), 2 * number % 256, np.uint8)
            picture[:32, :32] = (250, 10, 10)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if shown:
                frame.pts, frame.time_base = shown[number], Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def names(emotion=3, actor=1):
    """Return the stem of a file without its modality."""
    return f"01-{emotion:02}-01-01-01-{actor:02}"


@pytest.fixture
def faces(monkeypatch):
    """Return options that name a detector: the left half of the frame, partly outside of it."""
    module = types.ModuleType("my_faces")
    module.left = lambda frames: [(-20.4, -9, 48.2, 70)] * len(frames)
    module.none = lambda frames: [None] * len(frames)
    module.one = lambda frames: [None]
    monkeypatch.setitem(sys.modules, "my_faces", module)
    return {"face_detector": "my_faces:left"}


def test_clips_are_paired_by_name(ravdess, tmp_path):
    """Actors, then names; songs are left out; a video with sound comes before one without."""
    for actor, emotion in ((2, 8), (1, 5), (1, 3)):
        folder = tmp_path / f"Actor_{actor:02}"
        folder.mkdir(exist_ok=True)
        for modality, suffix in (("01", "mp4"), ("02", "mp4"), ("03", "wav")):
            (folder / f"{modality}-{names(emotion, actor)}.{suffix}").touch()
    (tmp_path / "Actor_02" / "01-02-03-01-01-01-02.mp4").touch()
    (tmp_path / "Actor_02" / f"01-{names(8, 2)}.mp4").unlink()
    recipe = ravdess.RAVDESS(raw=tmp_path)
    found = [recipe.identifier(index) for index in range(len(recipe))]
    assert found == [f"01-{names(3, 1)}", f"01-{names(5, 1)}", f"02-{names(8, 2)}"]
    assert recipe._clips.targets == [2, 4, 7]
    assert len(recipe.raw_files()) == 6
    assert recipe.official_splits() == {}


def test_no_actor_is_in_two_parts(ravdess, tmp_path):
    """Of 24 actors 14 are for training, 5 for validation and 5 for testing."""
    for actor in range(1, 25):
        for emotion in (1, 2):
            for name in (f"01-{names(emotion, actor)}.mp4", f"03-{names(emotion, actor)}.wav"):
                (tmp_path / name).touch()
    recipe = ravdess.RAVDESS(raw=tmp_path)
    parts = recipe.official_splits()["actors"]
    actors = {
        part: {int(recipe.identifier(index)[-2:]) for index in ids} for part, ids in parts.items()
    }
    assert actors["train"] == {*range(1, 15)}
    assert actors["validation"] == {*range(15, 20)}
    assert actors["test"] == {*range(20, 25)}
    assert sum(map(len, parts.values())) == 48


def test_wrong_files_are_refused(ravdess, tmp_path):
    """Missing recordings, foreign names and two files of one name are named."""

    def told():
        return refusal(lambda: len(ravdess.RAVDESS(raw=tmp_path)))

    assert "holds no videos of speech" in told()
    (tmp_path / f"01-{names(9)}.mp4").touch()
    assert f"has no recording 03-{names(9)}.wav" in told()
    (tmp_path / f"03-{names(9)}.wav").touch()
    assert "tells the emotion 9; expected 01 to 08" in told()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / f"01-{names(9)}.mp4").touch()
    assert "are of one name; expected one of them" in told()
    (tmp_path / "holiday.mp4").touch()
    assert "holiday.mp4 is not named as RAVDESS names its files" in told()
    assert "name with --raw" in refusal(lambda: len(ravdess.RAVDESS()))


@pytest.mark.parametrize(
    ("length", "start", "zeros"), [(79380, 0, 0), (79379, 0, 1), (79384, 2, 0), (10, 0, 79370)]
)
def test_the_middle_of_a_signal(ravdess, length, start, zeros):
    """Centred when longer than 3.6 s, padded at the end when shorter, whole when exactly so."""
    signal = np.arange(1.0, length + 1)
    kept, found = ravdess.middle(signal)
    assert found == start
    assert kept.shape == (79380,)
    np.testing.assert_array_equal(kept[: 79380 - zeros], signal[start : start + 79380 - zeros])
    assert not kept[79380 - zeros :].any()


@pytest.mark.parametrize(
    ("frames", "start", "expected"),
    [
        (120, 0.0, [3, 10, 17, 24, 31, 39, 46, 53, 60, 67, 75, 82, 89, 96, 103]),
        (120, 0.3, [12, 19, 26, 33, 40, 48, 55, 62, 69, 76, 84, 91, 98, 105, 112]),
        (40, 0.0, [3, 10, 17, 24, 31, 39]),
        (0, 0.0, []),
    ],
)
def test_frames_of_the_window(ravdess, tmp_path, frames, start, expected):
    """Frames ⌊108 i / 15⌋ + 3 from where the audio starts; those after the end are missing; RGB."""
    if not frames:
        pytest.importorskip("av")
        (tmp_path / "a.mp4").write_bytes(b"no video")
        assert "a.mp4 cannot be read" in refusal(
            lambda: ravdess.read_frames(tmp_path / "a.mp4", start)
        )
        return
    found = ravdess.read_frames(write_video(tmp_path / "a.mp4", frames), start)
    greys = [round(float(frame[40:, 40:].mean()) / 2) for frame in found]
    np.testing.assert_allclose(greys, expected, atol=1)
    red = found[0][5:25, 5:25].mean((0, 1))
    assert red[0] > 200
    assert max(red[1:]) < 60


def test_frames_follow_the_clock(ravdess, tmp_path):
    """Not their number: where the rate varies, those that begin nearest to the wanted times."""
    shown = [4 * number for number in range(20)] + list(range(80, 480, 10))
    video = write_video(tmp_path / "a.mp4", len(shown), shown=shown)
    greys = [frame[40:, 40:].mean() / 2 for frame in ravdess.read_frames(video, 0.01)]
    wanted = 0.01 + (np.arange(15) * 108 // 15 + 3) / 30
    nearest = [np.abs(np.array(shown) / 100 - time).argmin() for time in wanted]
    np.testing.assert_allclose(greys, nearest, atol=1)


def test_boxes_stay_within_the_frame(ravdess, tmp_path):
    """Rounded and clamped; without a face the previous box counts, at first the next one."""
    frames = [np.zeros((64, 96, 3), np.uint8)] * 5
    boxes = [None, (-5, 1.6, 50.2, 99), None, (90, 60, 120, 80), (100, 0, 120, 9)]
    found = ravdess.checked_boxes(boxes, frames, tmp_path)
    assert found == [(0, 2, 50, 64)] * 3 + [(90, 60, 96, 64)] * 2
    message = refusal(lambda: ravdess.checked_boxes([None] * 5, frames, tmp_path))
    assert f"no frame of {tmp_path} shows a face" in message
    message = refusal(lambda: ravdess.checked_boxes([None], frames, tmp_path))
    assert "gives 1 boxes for 5 frames" in message


def test_the_face_fills_the_picture(ravdess):
    """The box of a frame, resized: what is outside of it does not show."""
    pytest.importorskip("PIL.Image")
    frame = np.zeros((64, 96, 3), np.uint8)
    frame[10:30, 20:60] = (7, 80, 200)
    found = ravdess.cut(frame, (20, 10, 60, 30))
    assert found.shape == (224, 224, 3)
    assert (found == (7, 80, 200)).all()


def test_a_clip_from_its_files(ravdess, tmp_path, faces):
    """Picture and sound are of the same 3.6 s; the store takes them; statistics come out finite."""
    for module in ("librosa", "soundfile", "av"):
        pytest.importorskip(module)
    for actor, seconds in ((1, 4.6), (2, 3.6), (3, 1.0)):
        write_video(tmp_path / f"01-{names(actor, actor)}.mp4", round(seconds * 30))
        write_tone(tmp_path / f"03-{names(actor, actor)}.wav", seconds)
    recipe = ravdess.RAVDESS(raw=tmp_path, **faces)
    long, exact, short = (recipe.sample(index) for index in range(3))
    assert long["audio"].shape == (15, 156)
    greys = [sample["visual"][:, :, 200, 100].mean(0) / 2 for sample in (long, exact, short)]
    np.testing.assert_allclose(greys[0][:2], (18, 25), atol=2)  # half a second, 15 frames, later
    np.testing.assert_allclose(greys[1][:2], (3, 10), atol=2)
    assert not short["visual"][:, 4:].any()
    assert short["visual"][:, :4].any()
    quiet = short["audio"][0, 60:]
    assert (quiet == quiet[-1]).all()
    assert quiet[0] < exact["audio"][0, 60:].min()
    store = build(ravdess.RAVDESS(raw=tmp_path, **faces), tmp_path / "store")
    np.testing.assert_array_equal(store.read("visual", np.array([1]))[0], exact["visual"])
    message = refusal(
        lambda: ravdess.RAVDESS(raw=tmp_path, face_detector="my_faces:none").sample(1)
    )
    assert f"no frame of {tmp_path / f'01-{names(2, 2)}.mp4'} shows a face" in message


def test_mtcnn_gives_its_first_box(ravdess, monkeypatch):
    """None where it finds no face."""

    class Network:
        def detect(self, frames):
            boxes = np.empty(len(frames), object)
            boxes[1] = np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]])
            return boxes, None

    module = types.ModuleType("facenet_pytorch")
    module.MTCNN = Network
    monkeypatch.setitem(sys.modules, "facenet_pytorch", module)
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    first, second = ravdess.Mtcnn()(np.zeros((2, 8, 8, 3), np.uint8))
    assert first is None
    assert second.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "act", "told"),
    [
        ("librosa", lambda r, p: r._clips.read(0), "librosa: pip install 'mstgraph[audio]'"),
        ("av", lambda r, p: p.read_frames(r.raw, 0.0), "av: pip install 'mstgraph[audio,video]'"),
        ("torchvision", lambda r, p: p.Mtcnn(), "torchvision: pip install torchvision"),
    ],
)
def test_missing_packages_are_named(ravdess, tmp_path, monkeypatch, name, act, told):
    """The message says what to install."""
    monkeypatch.setitem(sys.modules, name, None)
    for file in (f"01-{names()}.mp4", f"03-{names()}.wav"):
        (tmp_path / file).touch()
    recipe = ravdess.RAVDESS(raw=tmp_path)
    assert told in refusal(lambda: act(recipe, ravdess))


@pytest.mark.parametrize(
    ("student", "other", "index"), [("visual", "audio", 2), ("audio", "visual", 1)]
)
def test_gin_files_derive_four_teachers(arrays, tmp_path, student, other, index):
    """Two of the fused member at the paper's mask points, two of the other modality."""
    found = teachers(f"ravdess_{student}.gin", write_arrays(tmp_path, arrays))
    pairs = [(0, "fused"), (index, other)]
    assert found == [(*pair, point) for pair in pairs for point in ("hidden1", "hidden2")]


def test_options_without_effect_are_refused(ravdess, arrays, tmp_path):
    """Arrays need no detector, videos no order of colours."""
    raw = write_arrays(tmp_path / "arrays", {name: values[:2] for name, values in arrays.items()})
    recipe = ravdess.RAVDESS(raw=raw, face_detector="my:faces")
    assert "option 'face_detector' of RAVDESS (speech) has no" in refusal(lambda: len(recipe))
    recipe = ravdess.RAVDESS(raw=tmp_path, colours="rgb")
    assert "option 'colours' of RAVDESS (speech) has no" in refusal(lambda: len(recipe))
