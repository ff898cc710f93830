"""Videos are read by the times of their pictures, upright; what they lack is named."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mstgraph.recipes import videos
from mstgraph.support.errors import UserError

av = pytest.importorskip("av")


def write(path: Path, times: list[int], rotation: int = 0) -> Path:
    """Write a video whose pictures, ever lighter, are shown at times in hundredths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        if rotation:
            stream.set_display_rotation(rotation)
        for number, time in enumerate(times):
            picture = np.full((48, 64, 3), 20 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def times(path: Path) -> list[float]:
    """Return when the pictures of a video are shown."""
    with videos.opened(path) as container:
        return [frame.time for frame in videos.pictures(path, container)]


def test_pictures_have_their_times(tmp_path: Path) -> None:
    """Of a rate that varies, too."""
    np.testing.assert_allclose(
        times(write(tmp_path / "a.mp4", [0, 4, 30, 31])), [0, 0.04, 0.3, 0.31]
    )


def test_turned_pictures_are_refused(tmp_path: Path) -> None:
    """As a phone stores them."""
    with pytest.raises(UserError, match=r"a\.mp4 are to be turned by -?90°"):
        times(write(tmp_path / "a.mp4", [0, 4], rotation=90))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """Sound, pictures, or all of it."""
    silent = write(tmp_path / "a.mp4", [0, 4])
    with (
        pytest.raises(UserError, match=r"a\.mp4 has no sound$"),
        videos.opened(silent) as container,
    ):
        videos.sound(silent, container)
    with av.open(str(tmp_path / "b.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), "i2"), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(UserError, match=r"b\.wav has no pictures$"):
        times(tmp_path / "b.wav")
    (tmp_path / "c.mp4").write_bytes(b"nothing")
    for name in ("c.mp4", "gone.mp4"):
        with pytest.raises(UserError, match=f"{name} cannot be read: "):
            times(tmp_path / name)
