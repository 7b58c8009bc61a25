"""Reading one picture file: what becomes of its pixels, and what is said about broken ones."""

import io
import struct
import threading
import tracemalloc
import zlib

import numpy as np
import pytest

from minicnn.data import DataError, read_picture

Image = pytest.importorskip("PIL.Image")
GENERATOR = np.random.default_rng(0)
COLOURS = GENERATOR.integers(0, 256, (8, 6, 3), dtype=np.uint8)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "webp"])
def test_a_picture_of_the_right_size_keeps_its_pixels(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path / f"a.{suffix}", COLOURS, **options)
    x = read_picture(str(path), (8, 6, 3))
    assert x.dtype == np.uint8 and x.shape == (8, 6, 3) and x.flags.writeable
    np.testing.assert_array_equal(x, COLOURS)


def test_jpeg_and_gif(tmp_path):
    flat = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    for suffix in ("jpg", "gif"):
        x = read_picture(save(tmp_path / f"a.{suffix}", flat), (16, 16, 3))
        assert np.abs(x.astype(int) - flat).max() <= 4, suffix


def test_the_content_decides_and_not_the_name(tmp_path):
    save(tmp_path / "a.png", COLOURS)
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg", (8, 6, 3)), COLOURS)


def test_grey(tmp_path):
    path = save(tmp_path / "a.png", COLOURS)
    luminance = COLOURS @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    x = read_picture(path, (8, 6, 1))
    assert x.shape == (8, 6, 1)
    np.testing.assert_allclose(x[..., 0], luminance, atol=0.51)
    grey = save(tmp_path / "grey.png", COLOURS[..., 0])
    np.testing.assert_array_equal(read_picture(grey, (8, 6, 1))[..., 0], COLOURS[..., 0])
    np.testing.assert_array_equal(read_picture(grey, (8, 6, 3)), np.repeat(COLOURS[..., :1], 3, axis=2))


def test_the_middle_is_cut_out(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    path = save(tmp_path / "wide.png", wide)
    assert (read_picture(path, (10, 10, 3)) == 255).all()
    path = save(tmp_path / "tall.png", wide.transpose(1, 0, 2))
    x = read_picture(path, (5, 5, 3))
    assert (x[1:-1] == 255).all() and (x > 200).all()  # the filter sees a little of what lies beside
    # Of 10 x 30, the middle 10 x 20 have the proportions 1 : 2: five black columns on each side of the white ones.
    x = read_picture(save(tmp_path / "wide.png", wide), (10, 20, 3))
    np.testing.assert_array_equal(x, wide[:, 5:25])


def test_scaling_is_antialiased(tmp_path):
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    x = read_picture(save(tmp_path / "board.png", board), (8, 8, 1))
    assert np.abs(x[1:-1, 1:-1].astype(int) - 127).max() <= 3


def test_scaling_up(tmp_path):
    x = read_picture(save(tmp_path / "flat.png", np.full((3, 3, 3), 77, np.uint8)), (64, 64, 3))
    assert (x == 77).all()


def test_one_pixel_and_extreme_proportions(tmp_path):
    assert read_picture(save(tmp_path / "one.png", COLOURS[:1, :1]), (4, 7, 3)).shape == (4, 7, 3)
    for shape in ((1, 300), (300, 1)):
        path = save(tmp_path / "line.png", np.full((*shape, 3), 9, np.uint8))
        for size in ((7, 3), (3, 7), (1, 1)):
            assert (read_picture(path, (*size, 3)) == 9).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_the_camera(tmp_path, orientation):
    """EXIF 2.3, tag 0x0112: what the first row and column of the file are in the scene."""
    scene = COLOURS
    stored = {
        1: scene, 2: scene[:, ::-1], 3: scene[::-1, ::-1], 4: scene[::-1], 5: scene.transpose(1, 0, 2),
        6: np.rot90(scene), 7: scene[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(scene, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", np.ascontiguousarray(stored), exif=exif)
    np.testing.assert_array_equal(read_picture(path, (8, 6, 3)), scene)


def test_transparent_parts_are_white(tmp_path):
    alpha = np.zeros((8, 6, 1), np.uint8)
    alpha[:4] = 255
    expected = np.where(alpha, COLOURS, 255)
    path = save(tmp_path / "rgba.png", np.concatenate([COLOURS, alpha], axis=2))
    np.testing.assert_array_equal(read_picture(path, (8, 6, 3)), expected)
    path = save(tmp_path / "la.png", np.concatenate([COLOURS[..., :1], alpha], axis=2))
    np.testing.assert_array_equal(read_picture(path, (8, 6, 1)), expected[..., :1])
    half = save(tmp_path / "half.png", np.full((2, 2, 4), (0, 0, 0, 51), np.uint8))
    np.testing.assert_array_equal(read_picture(half, (2, 2, 3)), np.full((2, 2, 3), 204))


def test_palettes(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "plain.png")
    assert read_picture(tmp_path / "plain.png", (1, 2, 3)).tolist() == [[[10, 20, 30], [200, 100, 50]]]
    for name in ("clear.png", "clear.gif"):
        image.save(tmp_path / name, transparency=0)
        assert read_picture(tmp_path / name, (1, 2, 3)).tolist() == [[[255, 255, 255], [200, 100, 50]]]


def test_sixteen_bits(tmp_path):
    greys = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    path = save(tmp_path / "a.png", greys)
    expected = np.round(greys / 257).astype(np.uint8)
    np.testing.assert_array_equal(read_picture(path, (1, 6, 1))[..., 0], expected)
    (tmp_path / "a.ppm").write_bytes(b"P5 6 1 65535\n" + greys.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_picture(tmp_path / "a.ppm", (1, 6, 3))[..., 2], expected)


def test_other_kinds_of_pixels(tmp_path):
    save(tmp_path / "bits.png", COLOURS[..., 0] > 127)
    np.testing.assert_array_equal(read_picture(tmp_path / "bits.png", (8, 6, 1))[..., 0], (COLOURS[..., 0] > 127) * 255)
    Image.new("CMYK", (8, 8), (0, 0, 0, 255)).save(tmp_path / "cmyk.jpg")
    assert read_picture(tmp_path / "cmyk.jpg", (8, 8, 3)).max() < 5
    (tmp_path / "floats.ppm").write_bytes(b"Pf 2 1 -1.0\n" + np.zeros(2, np.float32).tobytes())
    with pytest.raises(DataError, match="floats.ppm: holds floats"):
        read_picture(tmp_path / "floats.ppm", (1, 2, 3))


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_picture(tmp_path / "a.gif", (4, 4, 3))[0, 0].tolist() == [255, 0, 0]


def png(width, height, data):
    """A PNG file that claims a size, 8-bit grey."""
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def encoded(kind, **options):
    file = io.BytesIO()
    Image.fromarray(GENERATOR.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(("content", "message"), [
    (b"", "not a picture"),
    (b"hello", "not a picture, or a damaged one; expected PNG, JPEG, BMP, GIF, WEBP, PPM"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a picture"),
    (encoded("TIFF"), "not a picture"),
    (encoded("PNG")[:1000], "a damaged picture"),
    (encoded("PNG")[:20], "damaged"),
    (encoded("JPEG")[:900], "a damaged picture"),
    (encoded("BMP")[:900], "a damaged picture"),
    (encoded("PPM")[:900], "a damaged picture"),
    (encoded("WEBP")[:300], "damaged"),
    (png(10_000, 8_001, b""), "claims 10000 x 8001 pixels, expected at most 80000000"),
    (png(60_000, 60_000, b""), "a damaged picture .*decompression bomb"),
    (png(0, 5, b""), "damaged"),
], ids=range(13))  # fmt: skip
def test_broken_pictures_are_named(tmp_path, content, message):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"^{path}: .*{message}") as caught:
        read_picture(path, (8, 8, 3))
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 400


def test_a_bomb_is_not_unpacked(tmp_path):
    (tmp_path / "a.png").write_bytes(png(9_000, 8_900, b"\0" * (9_001 * 8_900)))
    tracemalloc.start()
    with pytest.raises(DataError, match="9000 x 8900 pixels"):
        read_picture(tmp_path / "a.png", (8, 8, 3))
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(DataError, match="gone.png: no such file; expected a picture"):
        read_picture(tmp_path / "gone.png", (8, 8, 3))
    with pytest.raises(DataError, match=f"{tmp_path}: not a file; expected a picture"):
        read_picture(tmp_path, (8, 8, 3))


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 2), (0, 8, 3), (8.0, 8, 3), (8, 8, 3, 1)])
def test_odd_shapes(tmp_path, shape):
    with pytest.raises(ValueError, match="read_picture: expected a height, a width and 1 or 3 channels"):
        read_picture(tmp_path / "a.png", shape)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM"])
def test_damaged_bytes_give_a_data_error_or_a_picture_and_nothing_else(tmp_path, kind):
    whole = encoded(kind)
    dice = np.random.default_rng(1)
    path = tmp_path / "a"
    for _ in range(60):
        damaged = bytearray(whole)
        for position in dice.integers(0, 100 if dice.random() < 0.5 else len(whole), 3):
            damaged[position] = dice.integers(256)
        path.write_bytes(damaged)
        try:
            assert read_picture(path, (8, 8, 3)).shape == (8, 8, 3)
        except DataError as error:
            assert str(error).startswith(f"{path}: ") and len(str(error).splitlines()) == 1


def test_threads_read_side_by_side(tmp_path):
    path = save(tmp_path / "a.png", COLOURS)
    found = []
    threads = [threading.Thread(target=lambda: found.append(read_picture(path, (8, 6, 3)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and all((x == COLOURS).all() for x in found)
