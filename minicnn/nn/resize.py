"""Resizing as layers. Arguments as those of the functions in ops/resize.py."""

from collections.abc import Sequence

from ..ops.resize import MODES, check_resize
from ..tensor import Tensor
from . import functional as F
from .layout import Flow
from .linear import positive_int
from .module import Module, layer


@layer
class Upsample(Module):
    """Resize sequences, pictures or volumes, see `functional.interpolate`.

    >>> import minicnn as mc
    >>> mc.nn.Upsample(scale_factor=2, mode="bilinear")(mc.ones((1, 4, 5, 3))).shape
    (1, 8, 10, 3)
    """

    in_order = True

    def __init__(self, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None,
                 mode: str = "nearest", align_corners: bool | None = None, recompute_scale_factor: bool | None = None):
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"Upsample: mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
        check_resize("Upsample", MODES[mode], size, scale_factor, mode, align_corners, recompute_scale_factor)
        self.size, self.scale_factor, self.mode = size, scale_factor, mode
        self.align_corners, self.recompute_scale_factor = align_corners, recompute_scale_factor

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, self.size, self.scale_factor, self.mode, self.align_corners,
                             self.recompute_scale_factor)

    def follow(self, flow: Flow) -> Flow:
        return flow.of_places()

    def extra_repr(self) -> str:
        how = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{how}, mode={self.mode!r}"


class Shuffle(Module):
    """Moves channels into space or back."""

    def changed(self, channels: int) -> int:
        """How many channels come out, for so many that go in."""
        raise NotImplementedError

    def follow(self, flow: Flow) -> Flow:
        if flow.channels is None:
            return flow._replace(certain=False)
        return flow.of_picture(self.changed(flow.channels))


@layer
class PixelShuffle(Shuffle):
    """Channels into space: (N, H, W, C r^2) -> (N, H r, W r, C), see `functional.pixel_shuffle`.

    >>> import minicnn as mc
    >>> mc.nn.PixelShuffle(2)(mc.ones(1, 8, 8, 12)).shape
    (1, 16, 16, 3)
    """

    def __init__(self, upscale_factor: int):
        super().__init__()
        self.upscale_factor = positive_int(self, "upscale_factor", upscale_factor)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(x, self.upscale_factor)

    def changed(self, channels: int) -> int:
        return channels // self.upscale_factor**2

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


@layer
class PixelUnshuffle(Shuffle):
    """Space into channels: (N, H r, W r, C) -> (N, H, W, C r^2), see `functional.pixel_unshuffle`.

    >>> import minicnn as mc
    >>> mc.nn.PixelUnshuffle(2)(mc.ones(1, 16, 16, 3)).shape
    (1, 8, 8, 12)
    """

    def __init__(self, downscale_factor: int):
        super().__init__()
        self.downscale_factor = positive_int(self, "downscale_factor", downscale_factor)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_unshuffle(x, self.downscale_factor)

    def changed(self, channels: int) -> int:
        return channels * self.downscale_factor**2

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"
