"""The matrix product and the convolutions in tiles: every tile, sums in pieces, and what the choice promises."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba.cuda", reason="the GPU's kernels need numba-cuda")

from minicnn.kernels import reference  # noqa: E402
from minicnn.kernels.cuda import conv, conv_gather, conv_weight, matmul  # noqa: E402
from minicnn.kernels.cuda.devices import open_device  # noqa: E402
from minicnn.kernels.cuda.inspection import fma_share  # noqa: E402
from minicnn.kernels.cuda.memory import DeviceArray, empty, to_device, to_numpy  # noqa: E402
from minicnn.kernels.cuda.tile import (  # noqa: E402
    DEPTH,
    FEW_COLUMNS,
    LARGE,
    LARGEST_FLOAT64,
    MULTIPROCESSORS,
    SHORTEST_PART,
    TILES,
    Tile,
    choose_tile,
)

STRAIGHT = {"stride": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1}
SKEW = {"stride": (2, 3), "padding": (1, 2, 0, 1), "dilation": (3, 2), "groups": 2}


@pytest.fixture(params=["checked", "reverse"])
def emulator(request: pytest.FixtureRequest) -> Iterator[Any]:
    device = open_device("emulator")
    before, device.backend.mode = device.backend.mode, request.param
    yield device
    device.backend.mode = before


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape)


def there(device: Any, *arrays: np.ndarray | None) -> list[DeviceArray | None]:
    return [None if a is None else to_device(a.astype(np.float32), device) for a in arrays]


def assert_sums(got: DeviceArray, expected: np.ndarray, terms: int) -> None:
    """Sums of so many products, each of order 1, in float32."""
    np.testing.assert_allclose(to_numpy(got), expected, rtol=0, atol=8 * np.finfo(np.float32).eps * terms**0.5 * 4)


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("tile", TILES, ids=str)
def test_products(tile: Tile, pieces: int, emulator: Any) -> None:
    """More than one tile in either direction, the last ones partly filled; sums that are no whole number of steps."""
    rows, columns, inner = tile.rows + 3, tile.columns + 8, 2 * DEPTH + 12
    a, b, bias = normal(2, rows, inner), normal(2, inner, columns), normal(columns)
    y = empty((2, rows, columns), np.float32, emulator)
    matmul.matmul(*there(emulator, a, b, bias), y, False, False, tile=tile, pieces=pieces)
    assert_sums(y, a.astype("f4").astype("f8") @ b.astype("f4") + bias.astype("f4"), inner)


def test_pieces_of_nothing(emulator: Any) -> None:
    """More blocks for a sum than it has steps: those left over add nothing."""
    a, b = normal(1, 4, 20), normal(1, 20, 4)
    y = empty((1, 4, 4), np.float32, emulator)
    matmul.matmul(*there(emulator, a, b, None), y, False, False, pieces=5)
    assert_sums(y, a @ b, 20)


def reference_of(name: str, inputs: list[np.ndarray | None], shape: tuple[int, ...], params: list[Any]) -> np.ndarray:
    made = np.empty(shape)
    wide = [None if a is None else a.astype(np.float32).astype(np.float64) for a in inputs]
    reference.kernel(name)(*wide, made, *params)
    return made


@pytest.mark.parametrize("tile", [LARGE, FEW_COLUMNS], ids=str)
@pytest.mark.parametrize("geometry", [STRAIGHT, SKEW], ids=["straight", "skew"])
def test_tiles_that_small_cases_do_not_take_convolve(tile: Tile, geometry: dict[str, Any], emulator: Any) -> None:
    """Several tiles of pixels, more filters than one has, in every direction of a convolution."""
    n, size, kernel, channels, filters = 2, (11, 13), (3, 2), 8, 136
    (up, left), groups = geometry["stride"], geometry["groups"]
    top, bottom, before, behind = geometry["padding"]
    reach = [d * (k - 1) + 1 for d, k in zip(geometry["dilation"], kernel, strict=True)]
    high, wide = (size[0] + top + bottom - reach[0]) // up + 1, (size[1] + before + behind - reach[1]) // left + 1
    x, w, dy = normal(n, *size, channels), normal(*kernel, channels // groups, filters), normal(n, high, wide, filters)
    bias, moves = normal(filters), list(geometry.values())

    y = empty(dy.shape, np.float32, emulator)
    conv_gather.forward(*there(emulator, x, w, bias, dy), y, *moves, -2.0, 3.0, tile=tile)
    assert_sums(y, reference_of("conv2d_forward", [x, w, bias, dy], dy.shape, [*moves, -2.0, 3.0]), 6 * channels)

    dx = empty(x.shape, np.float32, emulator)
    conv_gather.input_grad(*there(emulator, dy, w), dx, size, *moves, tile=tile)
    assert_sums(dx, reference_of("conv2d_input_grad", [dy, w], x.shape, [size, *moves]), 6 * filters)

    for pieces in (1, 4):
        dw = empty(w.shape, np.float32, emulator)
        conv_weight.weight_grad(*there(emulator, x, dy), dw, kernel, *moves, tile=tile, pieces=pieces)
        assert_sums(dw, reference_of("conv2d_weight_grad", [x, dy], w.shape, [kernel, *moves]), n * high * wide)


def test_the_main_loop_multiplies() -> None:
    """At least half of its instructions are multiply-adds; what comes from memory comes 16 bytes at a time."""
    for variant in (conv_gather.conv2d_tiles(np.float32, LARGE, False, True, True),
                    conv_gather.conv2d_tiles(np.float32, LARGE, True, True, True),
                    conv_weight.conv2d_weight_tiles(np.float32, LARGE, True, True)):
        ptx = variant.compiled((8, 0)).ptx
        assert fma_share(ptx) >= 0.5
        loads = [line for line in ptx.splitlines() if "ld.global" in line]
        assert loads
        assert all("ld.global.v4.f32" in line for line in loads)
        assert "ld.shared.v4.f32" in ptx
        assert "st.global.v4.f32" in ptx
        assert ".f64" not in ptx


@pytest.mark.parametrize(("rows", "columns", "depth", "batch"), [
    (1, 1, 1, 1), (75, 16, 8 * 64 * 64, 1), (8 * 64 * 64, 16, 75, 1), (32 * 56 * 56, 64, 576, 1), (4096, 4096, 4096, 1),
    (64, 64, 64, 500), (1, 1000, 512, 1), (7, 5, 100_000, 1), (0, 5, 3, 1), (5, 3, 0, 1)])
@pytest.mark.parametrize("itemsize", [4, 8])
def test_choice(rows: int, columns: int, depth: int, batch: int, itemsize: int) -> None:
    """Parts of a sum are worth adding up, and no more than keep a GPU busy; float64 takes no large tile."""
    tile, pieces = choose_tile(rows, columns, depth, batch, itemsize)
    assert itemsize == 4 or tile.rows * tile.columns <= LARGEST_FLOAT64
    assert pieces == 1 or (depth // pieces >= SHORTEST_PART and pieces <= 2 * MULTIPROCESSORS)


def test_large_products_take_the_large_tile_and_long_sums_are_split() -> None:
    assert choose_tile(4096, 4096, 4096, 1, 4) == (LARGE, 1)
    assert choose_tile(32 * 56 * 56, 64, 576, 1, 4) == (LARGE, 1)
    assert choose_tile(8 * 64 * 64, 16, 75, 1, 4)[0].columns == 16
    assert choose_tile(75, 16, 8 * 64 * 64, 1, 4)[1] > 50


@pytest.mark.parametrize(("channels", "groups", "expected"), [
    (8, 8, "depthwise"), (8, 4, "gemm"), (8, 1, "gemm"), (1, 1, "gemm")])
def test_algorithms(channels: int, groups: int, expected: str) -> None:
    for name in ("conv2d_forward", "conv2d_input_grad", "conv2d_weight_grad"):
        assert conv.choose(name, {"C": channels}, {"groups": groups})[0] == expected


def test_nothing_is_kept(emulator: Any) -> None:
    """What the processor's kernels would prepare of the weights, these don't need."""
    x, w = normal(1, 4, 4, 4), normal(1, 1, 4, 4)
    y, kept = empty((1, 4, 4, 4), np.float32, emulator), {}
    _, run = conv.choose("conv2d_forward", {"C": 4}, {"groups": 1})
    run(*there(emulator, x, w, None, None), y, (1, 1), (0, 0, 0, 0), (1, 1), 1, -np.inf, np.inf, kept=kept)
    assert_sums(y, x.astype("f4").astype("f8") @ w[0, 0].astype("f4"), 4)
    assert not kept
