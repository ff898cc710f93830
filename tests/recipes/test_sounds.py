"""Sounds of one's own: what a WAV file says, and spectrograms that show where a tone is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from mstgraph.recipes.sounds import LogMel, extent, recording
from mstgraph.support.errors import UserError

TONE = np.sin(2 * np.pi * 1000 * np.arange(4000) / 8000)


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "float32"])
def test_a_wav_file_of_any_type_is_the_same_tone(tmp_path: Path, kind: str) -> None:
    """Whole numbers become -1 to 1, and several channels their mean."""
    scaled = {"uint8": TONE * 127 + 128, "int16": TONE * 32767, "int32": TONE * (2.0**31 - 1)}
    values = scaled.get(kind, TONE).astype(kind)
    wavfile.write(tmp_path / "a.wav", 8000, np.stack([values, values], 1))
    assert extent(tmp_path / "a.wav") == (8000, 0.5)
    np.testing.assert_allclose(recording(tmp_path / "a.wav", 8000), TONE, atol=0.02)
    content = (tmp_path / "a.wav").read_bytes()
    np.testing.assert_allclose(recording(Path("x"), 8000, content), TONE, atol=0.02)


def test_another_rate_is_the_same_tone(tmp_path: Path) -> None:
    """Resampled, it has as many samples as its seconds say, and the same frequency."""
    wavfile.write(tmp_path / "a.wav", 8000, TONE.astype(np.float32))
    found = recording(tmp_path / "a.wav", 6000)
    assert len(found) == 3000
    assert np.abs(np.fft.rfft(found)).argmax() * 6000 / 3000 == 1000


@pytest.mark.parametrize(
    ("content", "expected"), [(b"no sound", "as a WAV file"), (b"", "as a WAV file")]
)
def test_what_is_no_wav_file_is_refused_by_name(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    """In one sentence."""
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.wav cannot be read {expected}"):
        recording(tmp_path / "a.wav", 8000)


def test_a_damaged_head_is_refused_by_name(tmp_path: Path) -> None:
    """The data are not where it says; a rate of which nothing could be resampled."""
    wavfile.write(tmp_path / "a.wav", 8000, TONE.astype(np.int16))
    content = (tmp_path / "a.wav").read_bytes().replace(b"data", b"date")
    with pytest.raises(UserError, match=r"a\.wav cannot be read as a WAV file"):
        recording(tmp_path / "a.wav", 8000, content)
    wavfile.write(tmp_path / "b.wav", 2**29, TONE[:9].astype(np.float32))
    with pytest.raises(UserError, match=r"b\.wav has 536870912 samples per second, expected 1 to"):
        recording(tmp_path / "b.wav", 8000)


def test_a_spectrogram_shows_a_tone_in_its_band() -> None:
    """The loudest band is that whose triangle is highest at 1000 Hz; silence is flat."""
    log_mel = LogMel(rate=8000, seconds=0.5, bands=40)
    shown = log_mel(TONE)
    assert shown.shape == log_mel.shape == (1, 40, 48)
    frequencies = np.fft.rfftfreq(200, 1 / 8000)
    expected = log_mel.filters()[:, np.abs(frequencies - 1000).argmin()].argmax()
    assert (shown[0].argmax(0) == expected).all()
    assert np.ptp(log_mel(np.zeros(100))) == 0


def test_sounds_are_cut_or_filled_with_silence() -> None:
    """All have one length; what is cut off changes nothing."""
    log_mel = LogMel(rate=8000, seconds=0.25, bands=20)
    np.testing.assert_array_equal(log_mel(TONE), log_mel(TONE[:2000]))
    filled = np.concatenate([TONE[:1000], np.zeros(1000)])
    np.testing.assert_array_equal(log_mel(TONE[:1000]), log_mel(filled))
