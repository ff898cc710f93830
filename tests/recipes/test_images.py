"""Images are read as a person sees them, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mstgraph.recipes import images
from mstgraph.support.errors import UserError

image = pytest.importorskip("PIL.Image")

TURNS = {  # what the tag says of how the pixels are stored: how to see them
    1: lambda seen: seen,
    2: lambda seen: seen[:, ::-1],
    3: lambda seen: seen[::-1, ::-1],
    4: lambda seen: seen[::-1],
    5: lambda seen: np.swapaxes(seen, 0, 1),
    6: lambda seen: np.rot90(seen, -1),
    7: lambda seen: np.swapaxes(seen[::-1, ::-1], 0, 1),
    8: lambda seen: np.rot90(seen),
}


def save(path: Path, pixels: np.ndarray, mode: str | None = None, **options: Any) -> Path:
    """Write an image."""
    picture = image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(path, **options)
    return path


def seen(path: Path) -> np.ndarray:
    """Return a picture's pixels."""
    return np.asarray(images.colour(path))


@pytest.mark.parametrize("tag", TURNS)
def test_pictures_stand_upright(tmp_path: Path, tag: int) -> None:
    """As the orientation tag says; maps of codes and of distances likewise."""
    exif = image.Exif()
    exif[0x0112] = tag
    colour = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10
    path = save(tmp_path / "a.png", colour, exif=exif)
    np.testing.assert_array_equal(seen(path), TURNS[tag](colour))
    for read, values in ((images.codes, colour[..., 0]), (images.millimetres, colour[..., 0])):
        kind = np.uint8 if read is images.codes else np.uint16
        path = save(tmp_path / "b.png", values.astype(kind), exif=exif)
        np.testing.assert_array_equal(read(path), TURNS[tag](values))


def test_grey_of_sixteen_bits_keeps_its_range(tmp_path: Path) -> None:
    """It does not turn white above 255."""
    levels = np.array([[0, 257, 32768, 65535]], np.uint16)
    found = seen(save(tmp_path / "a.png", levels))
    np.testing.assert_array_equal(found, np.repeat([[[0], [1], [128], [255]]], 3, axis=2))


def test_what_is_transparent_shows_white(tmp_path: Path) -> None:
    """Not the colour that happens to lie below it, be it by alpha or by a palette."""
    pixels = np.array([[[255, 0, 0, 0], [255, 0, 0, 255], [0, 0, 0, 51]]], np.uint8)
    expected = [[[255, 255, 255], [255, 0, 0], [204, 204, 204]]]
    np.testing.assert_array_equal(seen(save(tmp_path / "a.png", pixels)), expected)
    palette = image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([9, 9, 9, 200, 100, 50])
    palette.save(tmp_path / "b.png", transparency=0)
    found = seen(tmp_path / "b.png")
    np.testing.assert_array_equal(found, [[[255, 255, 255], [200, 100, 50]]])


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK"])
def test_other_modes_keep_their_colours(tmp_path: Path, mode: str) -> None:
    """White is white and black is black."""
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, 8:] = 255
    path = save(tmp_path / ("a.jpg" if mode == "CMYK" else "a.png"), pixels, mode)
    np.testing.assert_allclose(seen(path).astype(int), pixels, atol=3)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_codes_are_those_that_were_written(tmp_path: Path, bits: int) -> None:
    """Also in few bits, which Pillow stretches to 255, and in a palette, by number."""
    codes = np.arange(2**bits, dtype=np.uint8)[None]
    path = tmp_path / "grey.png"
    write_grey(path, codes, bits)
    np.testing.assert_array_equal(images.codes(path), codes)
    palette = image.fromarray(codes, "P")
    palette.putpalette([value for code in range(256) for value in (255 - code, 0, code)])
    palette.save(tmp_path / "palette.png", bits=bits)
    np.testing.assert_array_equal(images.codes(tmp_path / "palette.png"), codes)


def write_grey(path: Path, codes: np.ndarray, bits: int) -> None:
    """Write a grey PNG of few bits, by the book (PNG specification, 11.2.2): Pillow does not."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    digits = ((codes[..., None] >> np.arange(bits - 1, -1, -1)) & 1).reshape(len(codes), -1)
    rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(digits.astype(np.uint8), axis=1))
    head = struct.pack(">IIBBBBB", codes.shape[1], codes.shape[0], bits, 0, 0, 0, 0)
    ends = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(ends))


def test_what_nobody_can_tell_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    """Several pictures, colours of another kind, more pixels than is safe, a damaged file."""
    first, second = (image.new("L", (4, 4), level) for level in (0, 99))
    first.save(tmp_path / "many.gif", save_all=True, append_images=[second])
    image.new("F", (4, 4)).save(tmp_path / "float.tif")
    save(tmp_path / "large.png", np.zeros((100, 100), np.uint8))
    whole = save(tmp_path / "cut.png", np.random.default_rng(0).integers(0, 255, (64, 64, 3), "u1"))
    whole.write_bytes(whole.read_bytes()[:5000])
    (tmp_path / "text.png").write_text("no image")
    monkeypatch.setattr(image, "MAX_IMAGE_PIXELS", 9000)
    for name, told in {
        "many.gif": "many.gif holds 2 pictures; expected one",
        "float.tif": "float.tif is of mode 'F'; expected a picture in colour",
        "large.png": "large.png has 10000 pixels; expected at most 9000",
        "cut.png": "cut.png cannot be read: image file is truncated",
        "text.png": "text.png cannot be read: it is no picture",
        "gone.png": "gone.png cannot be read: .*No such file",
    }.items():
        with pytest.raises(UserError, match=told):
            images.colour(tmp_path / name)


def test_bombs_are_refused_before_they_go_off(tmp_path: Path, monkeypatch: Any) -> None:
    """Pillow warns of some sizes, and raises of others."""
    save(tmp_path / "a.png", np.zeros((100, 100), np.uint8))
    monkeypatch.setattr(image, "MAX_IMAGE_PIXELS", 99)
    with pytest.raises(UserError, match=r"a\.png cannot be read: .*decompression bomb"):
        images.colour(tmp_path / "a.png")


def test_maps_of_another_depth_are_refused(tmp_path: Path) -> None:
    """Eight bits for codes, sixteen for distances."""
    with pytest.raises(UserError, match="is of mode 'L'; expected a 16-bit grey PNG"):
        images.millimetres(save(tmp_path / "a.png", np.zeros((2, 2), np.uint8)))
    with pytest.raises(UserError, match="is of mode 'I;16'; expected an 8-bit PNG"):
        images.codes(save(tmp_path / "b.png", np.zeros((2, 2), np.uint16)))
