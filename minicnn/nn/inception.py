"""The Inception blocks: convolutions of several sizes beside each other, their channels put together.

Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke & Rabinovich 2014, "Going deeper with convolutions", and
Szegedy, Vanhoucke, Ioffe, Shlens & Wojna 2015, "Rethinking the Inception architecture for computer vision".

Each convolution is a BasicConv2d: a norm and a ReLU stand behind it. One of k x k from i to o channels has k * k * i *
o + 2 * o parameters.
"""

from ..ops.conv_arguments import Size
from ..ops.shape import concat
from ..tensor import Tensor
from .containers import Sequential
from .conv_norm import BasicConv2d
from .fuse import run
from .linear import positive_int
from .module import Module, layer
from .pool import AvgPool2d, MaxPool2d


class Branches(Module):
    """What the Inception blocks share: y = the outputs of `branches(x)` side by side, `out_channels` together."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.in_channels = positive_int(self, "in_channels", in_channels)

    def branches(self, x: Tensor) -> list[Tensor]:
        """What is put side by side; each (N, H_out, W_out, its channels)."""
        raise NotImplementedError(f"{type(self).__name__} has no branches")

    def forward(self, x: Tensor) -> Tensor:
        return concat(self.branches(x), dim=-1)


@layer
class Inception(Branches):
    """The block of GoogLeNet: 1x1, 3x3 and 5x5 convolutions and a pooling see the same picture.

            +-- branch1: 1x1 ------------------- [ ]
            |                                    [ ]
            +-- branch2: 1x1 -- 3x3 ------------ [ ]
        x --+                                    [ ]-- y
            +-- branch3: 1x1 -- 5x5 ------------ [ ]
            |                                    [ ]
            +-- branch4: max pool 3x3 -- 1x1 --- [ ]

    x: (N, H, W, in_channels), y: (N, H, W, ch1x1 + ch3x3 + ch5x5 + pool_proj). ch3x3red, ch5x5red: channels between the
    two convolutions of branch2 and branch3, where the 1x1 reduces them. kernel5x5: the size of the filters of branch3;
    torchvision's GoogLeNet has 3 there, and so has models/googlenet.py. The norms are later than the paper.

    Parameters, with c = in_channels: c * ch1x1 + c * ch3x3red + 9 * ch3x3red * ch3x3 + c * ch5x5red + 25 * ch5x5red *
    ch5x5 + c * pool_proj, and two for each output of the six norms. That is 164,064 for the paper's block 3a, (192, 64,
    96, 128, 16, 32, 32), and 155,872 with kernel5x5=3.

    Szegedy et al. 2014, figure 2b and table 1.

    >>> import minicnn as mc
    >>> mc.nn.Inception(3, 4, 2, 8, 2, 6, 5)(mc.ones(1, 6, 6, 3)).shape
    (1, 6, 6, 23)
    """

    def __init__(self, in_channels: int, ch1x1: int, ch3x3red: int, ch3x3: int, ch5x5red: int, ch5x5: int,
                 pool_proj: int, kernel5x5: int = 5):
        super().__init__(in_channels)
        if positive_int(self, "kernel5x5", kernel5x5) % 2 == 0:
            raise ValueError(f"Inception: kernel5x5 must be odd, to keep the size of the picture, got {kernel5x5}")
        self.branch1 = BasicConv2d(in_channels, ch1x1, 1)
        self.branch2 = Sequential(BasicConv2d(in_channels, ch3x3red, 1), BasicConv2d(ch3x3red, ch3x3, 3, padding=1))
        self.branch3 = Sequential(BasicConv2d(in_channels, ch5x5red, 1),
                                  BasicConv2d(ch5x5red, ch5x5, kernel5x5, padding=kernel5x5 // 2))
        self.branch4 = Sequential(MaxPool2d(3, stride=1, padding=1), BasicConv2d(in_channels, pool_proj, 1))
        self.out_channels = ch1x1 + ch3x3 + ch5x5 + pool_proj

    def branches(self, x: Tensor) -> list[Tensor]:
        return [self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)]


@layer
class InceptionA(Branches):
    """Block A of Inception v3, for 35 x 35 pixels: the 5x5 of Inception v1 has become two 3x3, which see as much.

            +-- branch1x1: 1x1 64 -------------------------------------------------- [ ]
            |                                                                        [ ]
            +-- branch5x5_1: 1x1 48 ------ _2: 5x5 64 ------------------------------ [ ]
        x --+                                                                        [ ]-- y
            +-- branch3x3dbl_1: 1x1 64 --- _2: 3x3 96 --- _3: 3x3 96 --------------- [ ]
            |                                                                        [ ]
            +-- average pool 3x3 --------- branch_pool: 1x1 pool_features ---------- [ ]

    x: (N, H, W, in_channels), y: (N, H, W, 224 + pool_features). The numbers are channels. The paper's figure has a 3x3
    where the authors' network, and torchvision, kept a 5x5 (branch5x5).

    Parameters, with c = in_channels and p = pool_features: (176 + p) * c + 2 * p + 215,904, which are

        1x1                  64 * c + 128                 5x5              76,800 + 128
        before the 5x5       48 * c + 96                  first 3x3        55,296 + 192
        before the 3x3s      64 * c + 128                 second 3x3       82,944 + 192
        behind the pool       p * c + 2 * p

    and 255,904 for 192 channels and 32 pool_features, 277,472 for 256 and 64.

    Szegedy et al. 2015, section 3.1 and figure 5.

    >>> import minicnn as mc
    >>> mc.nn.InceptionA(3, 6)(mc.ones(1, 6, 6, 3)).shape
    (1, 6, 6, 230)
    """

    def __init__(self, in_channels: int, pool_features: int):
        super().__init__(in_channels)
        self.branch1x1 = BasicConv2d(in_channels, 64, 1)
        self.branch5x5_1 = BasicConv2d(in_channels, 48, 1)
        self.branch5x5_2 = BasicConv2d(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, padding=1)
        self.pool = AvgPool2d(3, stride=1, padding=1)
        self.branch_pool = BasicConv2d(in_channels, pool_features, 1)
        self.out_channels = 224 + pool_features

    def branches(self, x: Tensor) -> list[Tensor]:
        return [self.branch1x1(x),
                run(x, self.branch5x5_1, self.branch5x5_2),
                run(x, self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3),
                run(x, self.pool, self.branch_pool)]


@layer
class InceptionB(Branches):
    """The block of Inception v3 that brings 35 x 35 pixels to 17 x 17: strided convolutions and a pooling side by side.

            +-- branch3x3: 3x3 384, stride 2 --------------------------------------- [ ]
            |                                                                        [ ]
        x --+-- branch3x3dbl_1: 1x1 64 --- _2: 3x3 96 --- _3: 3x3 96, stride 2 ----- [ ]-- y
            |                                                                        [ ]
            +-- max pool 3x3, stride 2 --------------------------------------------- [ ]

    x: (N, H, W, in_channels), y: (N, (H - 1) // 2, (W - 1) // 2, 480 + in_channels); at least 3 x 3 pixels come in, as
    what is strided has no padding.

    Parameters, with c = in_channels: 3,520 * c + 139,520, which are 3,456 * c + 768 of branch3x3, 64 * c + 128, 55,296
    + 192 and 82,944 + 192 of branch3x3dbl. That is 1,153,280 for 288 channels.

    Szegedy et al. 2015, section 5 and figure 10 (left).

    >>> import minicnn as mc
    >>> mc.nn.InceptionB(4)(mc.ones(1, 7, 7, 4)).shape
    (1, 3, 3, 484)
    """

    def __init__(self, in_channels: int):
        super().__init__(in_channels)
        self.branch3x3 = BasicConv2d(in_channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, stride=2)
        self.pool = MaxPool2d(3, stride=2)
        self.out_channels = 480 + in_channels

    def branches(self, x: Tensor) -> list[Tensor]:
        return [self.branch3x3(x),
                run(x, self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3),
                self.pool(x)]


@layer
class InceptionC(Branches):
    """Block C of Inception v3 (the paper's second), for 17 x 17 pixels: a 7x7 as 1x7 and 7x1, for 2 / 7 of the cost.

            +-- branch1x1: 1x1 ----------------------------------------------------------------- [ ]
            |                                                                                    [ ]
            +-- branch7x7_1: 1x1 ------ _2: 1x7 ---- _3: 7x1 ----------------------------------- [ ]
        x --+                                                                                    [ ]-- y
            +-- branch7x7dbl_1: 1x1 --- _2: 7x1 ---- _3: 1x7 ---- _4: 7x1 ---- _5: 1x7 --------- [ ]
            |                                                                                    [ ]
            +-- average pool 3x3 ------ branch_pool: 1x1 --------------------------------------- [ ]

    x: (N, H, W, in_channels), y: (N, H, W, 768): the last convolution of each branch has 192 channels, those before it
    channels_7x7.

    Parameters, with c = in_channels and s = channels_7x7: c * (384 + 2 * s) + 28 * s^2 + 2,700 * s + 1,536, which are

        both 1x1 to 192       2 * (192 * c + 384)        four s to s by 7         4 * (7 * s^2 + 2 * s)
        both 1x1 to s         2 * (s * c + 2 * s)        two s to 192 by 7        2 * (1,344 * s + 384)

    and 1,297,408 for 768 channels by 128.

    Szegedy et al. 2015, section 3.2 and figure 6.

    >>> import minicnn as mc
    >>> mc.nn.InceptionC(3, 4)(mc.ones(1, 6, 6, 3)).shape
    (1, 6, 6, 768)
    """

    def __init__(self, in_channels: int, channels_7x7: int):
        super().__init__(in_channels)
        inner = channels_7x7
        row: dict[str, Size] = {"kernel_size": (1, 7), "padding": (0, 3)}
        column: dict[str, Size] = {"kernel_size": (7, 1), "padding": (3, 0)}
        self.branch1x1 = BasicConv2d(in_channels, 192, 1)
        self.branch7x7_1 = BasicConv2d(in_channels, inner, 1)
        self.branch7x7_2 = BasicConv2d(inner, inner, **row)
        self.branch7x7_3 = BasicConv2d(inner, 192, **column)
        self.branch7x7dbl_1 = BasicConv2d(in_channels, inner, 1)
        self.branch7x7dbl_2 = BasicConv2d(inner, inner, **column)
        self.branch7x7dbl_3 = BasicConv2d(inner, inner, **row)
        self.branch7x7dbl_4 = BasicConv2d(inner, inner, **column)
        self.branch7x7dbl_5 = BasicConv2d(inner, 192, **row)
        self.pool = AvgPool2d(3, stride=1, padding=1)
        self.branch_pool = BasicConv2d(in_channels, 192, 1)
        self.out_channels = 768

    def branches(self, x: Tensor) -> list[Tensor]:
        return [self.branch1x1(x),
                run(x, self.branch7x7_1, self.branch7x7_2, self.branch7x7_3),
                run(x, self.branch7x7dbl_1, self.branch7x7dbl_2, self.branch7x7dbl_3, self.branch7x7dbl_4,
                    self.branch7x7dbl_5),
                run(x, self.pool, self.branch_pool)]


@layer
class InceptionD(Branches):
    """The block of Inception v3 that brings 17 x 17 pixels to 8 x 8, with convolutions of 1x7 and 7x1 in one branch.

            +-- branch3x3_1: 1x1 192 ----- _2: 3x3 320, stride 2 ------------------------------------- [ ]
            |                                                                                          [ ]
        x --+-- branch7x7x3_1: 1x1 192 --- _2: 1x7 192 --- _3: 7x1 192 --- _4: 3x3 192, stride 2 ----- [ ]-- y
            |                                                                                          [ ]
            +-- max pool 3x3, stride 2 --------------------------------------------------------------- [ ]

    x: (N, H, W, in_channels), y: (N, (H - 1) // 2, (W - 1) // 2, 512 + in_channels); at least 3 x 3 pixels come in, as
    what is strided has no padding.

    Parameters, with c = in_channels: 384 * c + 1,403,392, which are 2 * (192 * c + 384) of the 1x1s, 552,960 + 640 of
    the 3x3 to 320, 2 * (258,048 + 384) of 1x7 and 7x1, and 331,776 + 384 of the 3x3 to 192. That is 1,698,304 for 768
    channels.

    Szegedy et al. 2015, section 5 and figure 10 (left).

    >>> import minicnn as mc
    >>> mc.nn.InceptionD(4)(mc.ones(1, 7, 7, 4)).shape
    (1, 3, 3, 516)
    """

    def __init__(self, in_channels: int):
        super().__init__(in_channels)
        self.branch3x3_1 = BasicConv2d(in_channels, 192, 1)
        self.branch3x3_2 = BasicConv2d(192, 320, 3, stride=2)
        self.branch7x7x3_1 = BasicConv2d(in_channels, 192, 1)
        self.branch7x7x3_2 = BasicConv2d(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = BasicConv2d(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = BasicConv2d(192, 192, 3, stride=2)
        self.pool = MaxPool2d(3, stride=2)
        self.out_channels = 512 + in_channels

    def branches(self, x: Tensor) -> list[Tensor]:
        return [run(x, self.branch3x3_1, self.branch3x3_2),
                run(x, self.branch7x7x3_1, self.branch7x7x3_2, self.branch7x7x3_3, self.branch7x7x3_4),
                self.pool(x)]


@layer
class InceptionE(Branches):
    """Block E of Inception v3 (the paper's third), for 8 x 8 pixels: 1x3 and 3x1 beside each other, for many channels.

            +-- branch1x1: 1x1 320 ------------------------------------------------------- [ ]
            |                                                                              [ ]
            |                                 +-- _2a: 1x3 384 --------------------------- [ ]
            +-- branch3x3_1: 1x1 384 ---------+                                            [ ]
            |                                 +-- _2b: 3x1 384 --------------------------- [ ]
        x --+                                                                              [ ]-- y
            |                                                     +-- _3a: 1x3 384 ------- [ ]
            +-- branch3x3dbl_1: 1x1 448 --- _2: 3x3 384 ----------+                        [ ]
            |                                                     +-- _3b: 3x1 384 ------- [ ]
            |                                                                              [ ]
            +-- average pool 3x3 ---------- branch_pool: 1x1 192 ------------------------- [ ]

    x: (N, H, W, in_channels), y: (N, H, W, 2048).

    Parameters, with c = in_channels: 1,344 * c + 3,324,288, which are (320 + 384 + 448 + 192) * (c + 2) of the 1x1s,
    4 * (442,368 + 768) of 1x3 and 3x1, and 1,548,288 + 768 of the 3x3. That is 5,044,608 for 1280 channels.

    Szegedy et al. 2015, section 6 and figure 7.

    >>> import minicnn as mc
    >>> mc.nn.InceptionE(3)(mc.ones(1, 4, 4, 3)).shape
    (1, 4, 4, 2048)
    """

    def __init__(self, in_channels: int):
        super().__init__(in_channels)
        self.branch1x1 = BasicConv2d(in_channels, 320, 1)
        self.branch3x3_1 = BasicConv2d(in_channels, 384, 1)
        self.branch3x3_2a = BasicConv2d(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = BasicConv2d(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 448, 1)
        self.branch3x3dbl_2 = BasicConv2d(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = BasicConv2d(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = BasicConv2d(384, 384, (3, 1), padding=(1, 0))
        self.pool = AvgPool2d(3, stride=1, padding=1)
        self.branch_pool = BasicConv2d(in_channels, 192, 1)
        self.out_channels = 2048

    def branches(self, x: Tensor) -> list[Tensor]:
        single = self.branch3x3_1(x)
        double = run(x, self.branch3x3dbl_1, self.branch3x3dbl_2)
        return [self.branch1x1(x),
                self.branch3x3_2a(single), self.branch3x3_2b(single),
                self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double),
                run(x, self.pool, self.branch_pool)]
