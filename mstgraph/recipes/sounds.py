"""Sounds of one's own: a WAV file needs nothing beyond SciPy, other files the extra ``audio``."""

from __future__ import annotations

import io
from dataclasses import dataclass
from math import gcd
from pathlib import Path

import numpy as np

from mstgraph.recipes.raw import refuse_cut_short, waveform
from mstgraph.support.errors import UserError

WINDOW, HOP = 0.025, 0.010  # seconds, as is common for speech
HIGHEST_RATE = 1_000_000  # samples per second; more is a damaged header
QUIETEST = 1e-6  # added to a band's power before the logarithm


def recording(path: Path, rate: int, content: bytes | None = None) -> np.ndarray:
    """Return a recording as one channel at ``rate`` samples per second, [samples] float32.

    Args:
        path: the file; names it in messages where ``content`` is given.
        rate: samples per second; others are resampled.
        content: the bytes of a WAV file that lies in a table.

    Raises:
        UserError: it cannot be read, is empty or cut short, or needs an extra that is missing.
    """
    if content is None and path.suffix.lower() != ".wav":
        return waveform(path, rate)
    channels, found = _wav(path, content)
    common = gcd(found, rate)
    one = channels.mean(axis=1)
    if found != rate:
        # Here and below: SciPy takes seconds to import, in each process that reads a table.
        from scipy.signal import resample_poly  # type: ignore[import-untyped, unused-ignore]

        one = resample_poly(one, rate // common, found // common)
    return one.astype(np.float32)


def extent(path: Path, content: bytes | None = None) -> tuple[int, float]:
    """Return the samples per second and the seconds of a WAV file; UserError if it is none."""
    channels, rate = _wav(path, content)
    return rate, len(channels) / rate


def _wav(path: Path, content: bytes | None) -> tuple[np.ndarray, int]:
    """Return [samples, channels] float from -1 to 1, and the samples per second."""
    if content is None:
        refuse_cut_short(path)
    from scipy.io import wavfile  # type: ignore[import-untyped, unused-ignore]

    try:
        rate, values = wavfile.read(path if content is None else io.BytesIO(content))
    except Exception as error:  # SciPy raises almost anything on a damaged header
        reason = str(error).partition("\n")[0]
        raise UserError(f"the recording {path} cannot be read as a WAV file: {reason}") from error
    if not len(values):
        raise UserError(f"the recording {path} is empty")
    if not 1 <= rate <= HIGHEST_RATE:
        raise UserError(
            f"the recording {path} has {rate} samples per second, expected 1 to {HIGHEST_RATE}"
        )
    channels = values.reshape(len(values), -1)
    if channels.dtype == np.uint8:  # WAV's eight bits have their zero in the middle
        return (channels.astype(np.float64) - 128) / 128, int(rate)
    if channels.dtype.kind == "i":
        return channels / -float(np.iinfo(channels.dtype).min), int(rate)
    if not np.isfinite(channels).all():
        raise UserError(f"the recording {path} holds values that are no numbers")
    return channels.astype(np.float64), int(rate)


@dataclass(frozen=True)
class LogMel:
    """A spectrogram: the logarithm of the power in bands that are even on the mel scale.

    Windows of 25 ms (Hann) every 10 ms; triangles on m = 2595 log10(1 + f/700).

    Attributes:
        rate: samples per second.
        seconds: of a sample; a longer recording is cut, a shorter one is filled with silence.
        bands: of the spectrogram.
    """

    rate: int
    seconds: float
    bands: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """One channel, bands, times."""
        times = 1 + (self._samples - self._window) // self._hop
        return 1, self.bands, max(1, times)

    def __call__(self, signal: np.ndarray) -> np.ndarray:
        """Return [1, bands, times] float32 of a signal, [samples] float."""
        filled = np.zeros(max(self._samples, self._window))
        filled[: len(signal)] = signal[: len(filled)]
        frames = np.lib.stride_tricks.sliding_window_view(filled, self._window)[:: self._hop]
        spectrum = np.abs(np.fft.rfft(frames * np.hanning(self._window))) ** 2
        power = spectrum[: self.shape[2]] @ self.filters().T
        return np.log(power + QUIETEST).T[None].astype(np.float32)

    def filters(self) -> np.ndarray:
        """Return how much of each frequency each band takes, [bands, frequencies]."""
        highest = 2595 * np.log10(1 + self.rate / 2 / 700)
        corners = 700 * (10 ** (np.linspace(0, highest, self.bands + 2) / 2595) - 1)
        found = np.fft.rfftfreq(self._window, 1 / self.rate)
        below, peak, above = (corners[first : first + self.bands, None] for first in range(3))
        rising, falling = (found - below) / (peak - below), (above - found) / (above - peak)
        return np.maximum(0, np.minimum(rising, falling))

    @property
    def _samples(self) -> int:
        return round(self.rate * self.seconds)

    @property
    def _window(self) -> int:
        return round(self.rate * WINDOW)

    @property
    def _hop(self) -> int:
        return round(self.rate * HOP)
