"""Inception v4: Szegedy, Ioffe, Vanhoucke & Alemi 2016, "Inception-v4, Inception-ResNet and the impact of residual
connections on learning" (figures 3 to 9), as timm has it.

Three convolutions and three blocks bring pictures of 299 x 299 to 35 x 35; then come four blocks A, seven blocks B at
17 x 17 and three blocks C at 8 x 8, and before B and C a reduction. Average pools don't count the padding.

Each convolution is a BasicConv2d. In the drawings the numbers behind its size are channels, and it keeps the size of
the picture unless a V is there, as in the paper: those have no padding. Neither have the max pools.

Parameters, by hand (those of a block stand with it). A convolution of k x k from i to o channels has k * k * i * o +
2 * o, its norm included.

    features
    0        3x3 stride 2, 3 -> 32     864 + 64                   928    149 x 149
    1        3x3, 32 -> 32             9,216 + 64               9,280    147
    2        3x3, 32 -> 64             18,432 + 128            18,560    147
    3        Mixed3a, 64 -> 160                                55,488    73
    4        Mixed4a, 160 -> 192                              189,312    71
    5        Mixed5a, 192 -> 384                              332,160    35
    6-9      BlockA, 384 -> 384        4 * 317,632          1,270,528    35
    10       ReductionA, 384 -> 1024                        2,306,112    17
    11-17    BlockB, 1024 -> 1024      7 * 2,936,256       20,553,792    17
    18       ReductionB, 1024 -> 1536                       2,747,392    8
    19-21    BlockC, 1536 -> 1536      3 * 4,553,088       13,659,264    8, pooled to 1
    last_linear                        1536 * 1000 + 1000   1,537,000
                                                           42,679,816
"""

from .. import nn
from ..nn.fuse import run
from ..nn.inception import Branches
from ..tensor import Tensor
from .options import Classes, Share
from .registry import register


def same(in_channels: int, out_channels: int, rows: int, columns: int) -> nn.BasicConv2d:
    """A convolution of rows x columns, both odd, that keeps the size of the picture."""
    return nn.BasicConv2d(in_channels, out_channels, (rows, columns), padding=(rows // 2, columns // 2))


def pooled(in_channels: int, out_channels: int) -> nn.Sequential:
    """An average pool 3x3 that doesn't count the padding, and a 1x1 convolution."""
    pool = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return nn.Sequential(pool, same(in_channels, out_channels, 1, 1))


class SideBySide(Branches):
    """A block whose branches are its modules, in the order in which they were set."""

    def branches(self, x: Tensor) -> list[Tensor]:
        return [branch(x) for branch in self.children()]


class Mixed3a(SideBySide):
    """The first part of the stem.

            +-- maxpool: 3x3, stride 2 --------- [ ]
        x --+                                    [ ]-- y
            +-- conv: 3x3 V 96, stride 2 ------- [ ]

    x: (N, H, W, 64), y: (N, (H - 1) // 2, (W - 1) // 2, 160). Parameters: 55,296 + 192 = 55,488. Figure 3.
    """

    def __init__(self) -> None:
        super().__init__(64)
        self.maxpool = nn.MaxPool2d(3, stride=2)
        self.conv = nn.BasicConv2d(64, 96, 3, stride=2)
        self.out_channels = 160


class Mixed4a(SideBySide):
    """The second part of the stem: the same reach in two ways.

            +-- branch0: 1x1 64 -- 3x3 V 96 ---------------------------- [ ]
        x --+                                                            [ ]-- y
            +-- branch1: 1x1 64 -- 1x7 64 ---- 7x1 64 -- 3x3 V 96 ------ [ ]

    x: (N, H, W, 160), y: (N, H - 2, W - 2, 192).

    Parameters: 2 * 10,368 of the 1x1s, 2 * 28,800 of 1x7 and 7x1, 2 * 55,488 of the 3x3s: 189,312. Figure 3.
    """

    def __init__(self) -> None:
        super().__init__(160)
        self.branch0 = nn.Sequential(same(160, 64, 1, 1), nn.BasicConv2d(64, 96, 3))
        self.branch1 = nn.Sequential(same(160, 64, 1, 1), same(64, 64, 1, 7), same(64, 64, 7, 1),
                                     nn.BasicConv2d(64, 96, 3))
        self.out_channels = 192


class Mixed5a(SideBySide):
    """The last part of the stem.

            +-- conv: 3x3 V 192, stride 2 ------ [ ]
        x --+                                    [ ]-- y
            +-- maxpool: 3x3, stride 2 --------- [ ]

    x: (N, H, W, 192), y: (N, (H - 1) // 2, (W - 1) // 2, 384). Parameters: 331,776 + 384 = 332,160. Figure 3.
    """

    def __init__(self) -> None:
        super().__init__(192)
        self.conv = nn.BasicConv2d(192, 192, 3, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2)
        self.out_channels = 384


class BlockA(SideBySide):
    """Inception-A, for 35 x 35 pixels.

            +-- branch0: 1x1 96 ------------------------------ [ ]
            |                                                  [ ]
            +-- branch1: 1x1 64 --- 3x3 96 ------------------- [ ]
        x --+                                                  [ ]-- y
            +-- branch2: 1x1 64 --- 3x3 96 --- 3x3 96 -------- [ ]
            |                                                  [ ]
            +-- branch3: average pool 3x3 ---- 1x1 96 -------- [ ]

    x, y: (N, H, W, 384).

    Parameters: 2 * 37,056 of the 1x1s to 96, 2 * 24,704 of those to 64, 2 * 55,488 of the 3x3s from 64, and 83,136:
    317,632. Figure 4.
    """

    def __init__(self) -> None:
        super().__init__(384)
        self.branch0 = same(384, 96, 1, 1)
        self.branch1 = nn.Sequential(same(384, 64, 1, 1), same(64, 96, 3, 3))
        self.branch2 = nn.Sequential(same(384, 64, 1, 1), same(64, 96, 3, 3), same(96, 96, 3, 3))
        self.branch3 = pooled(384, 96)
        self.out_channels = 384


class ReductionA(SideBySide):
    """The block that brings 35 x 35 pixels to 17 x 17, in this network and in Inception-ResNet-v2.

            +-- branch0: 3x3 V n, stride 2 ---------------------- [ ]
            |                                                     [ ]
        x --+-- branch1: 1x1 k --- 3x3 l --- 3x3 V m, stride 2 -- [ ]-- y
            |                                                     [ ]
            +-- branch2: max pool 3x3, stride 2 ----------------- [ ]

    x: (N, H, W, in_channels), y: (N, (H - 1) // 2, (W - 1) // 2, n + m + in_channels).

    Parameters, with c = in_channels: 9 * c * n + c * k + 9 * k * l + 9 * l * m + 2 * (n + k + l + m). That is 2,306,112
    for 384 channels and k, l, m, n = 192, 224, 256, 384, and 2,664,960 for 320 and 256, 256, 384, 384. Figure 7 and
    table 1.
    """

    def __init__(self, in_channels: int, k: int, l: int, m: int, n: int):  # noqa: E741 - the paper's letters
        super().__init__(in_channels)
        self.branch0 = nn.BasicConv2d(in_channels, n, 3, stride=2)
        self.branch1 = nn.Sequential(same(in_channels, k, 1, 1), same(k, l, 3, 3), nn.BasicConv2d(l, m, 3, stride=2))
        self.branch2 = nn.MaxPool2d(3, stride=2)
        self.out_channels = n + m + in_channels


class BlockB(SideBySide):
    """Inception-B, for 17 x 17 pixels.

            +-- branch0: 1x1 384 ------------------------------------------------------- [ ]
            |                                                                            [ ]
            +-- branch1: 1x1 192 --- 1x7 224 --- 7x1 256 ------------------------------- [ ]
        x --+                                                                            [ ]-- y
            +-- branch2: 1x1 192 --- 7x1 192 --- 1x7 224 --- 7x1 224 --- 1x7 256 ------- [ ]
            |                                                                            [ ]
            +-- branch3: average pool 3x3 ------ 1x1 128 ------------------------------- [ ]

    x, y: (N, H, W, 1024).

    Parameters, branch by branch: 393,984; 196,992 + 301,504 + 401,920; 196,992 + 258,432 + 301,504 + 351,680 + 401,920;
    131,328. That is 2,936,256. Figure 5.
    """

    def __init__(self) -> None:
        super().__init__(1024)
        self.branch0 = same(1024, 384, 1, 1)
        self.branch1 = nn.Sequential(same(1024, 192, 1, 1), same(192, 224, 1, 7), same(224, 256, 7, 1))
        self.branch2 = nn.Sequential(same(1024, 192, 1, 1), same(192, 192, 7, 1), same(192, 224, 1, 7),
                                     same(224, 224, 7, 1), same(224, 256, 1, 7))
        self.branch3 = pooled(1024, 128)
        self.out_channels = 1024


class ReductionB(SideBySide):
    """The block that brings 17 x 17 pixels to 8 x 8.

            +-- branch0: 1x1 192 --- 3x3 V 192, stride 2 --------------------------- [ ]
            |                                                                        [ ]
        x --+-- branch1: 1x1 256 --- 1x7 256 --- 7x1 320 --- 3x3 V 320, stride 2 --- [ ]-- y
            |                                                                        [ ]
            +-- branch2: max pool 3x3, stride 2 ------------------------------------ [ ]

    x: (N, H, W, 1024), y: (N, (H - 1) // 2, (W - 1) // 2, 1536).

    Parameters, branch by branch: 196,992 + 332,160; 262,656 + 459,264 + 574,080 + 922,240. That is 2,747,392. Figure 8.
    """

    def __init__(self) -> None:
        super().__init__(1024)
        self.branch0 = nn.Sequential(same(1024, 192, 1, 1), nn.BasicConv2d(192, 192, 3, stride=2))
        self.branch1 = nn.Sequential(same(1024, 256, 1, 1), same(256, 256, 1, 7), same(256, 320, 7, 1),
                                     nn.BasicConv2d(320, 320, 3, stride=2))
        self.branch2 = nn.MaxPool2d(3, stride=2)
        self.out_channels = 1536


class BlockC(Branches):
    """Inception-C, for 8 x 8 pixels.

            +-- branch0: 1x1 256 ------------------------------------------------------------- [ ]
            |                                                                                  [ ]
            |                                                       +-- branch1_1a: 1x3 256 -- [ ]
            +-- branch1_0: 1x1 384 ---------------------------------+                          [ ]
            |                                                       +-- branch1_1b: 3x1 256 -- [ ]
        x --+                                                                                  [ ]-- y
            |                                                       +-- branch2_3a: 1x3 256 -- [ ]
            +-- branch2_0: 1x1 384 --- _1: 3x1 448 --- _2: 1x3 512 -+                          [ ]
            |                                                       +-- branch2_3b: 3x1 256 -- [ ]
            |                                                                                  [ ]
            +-- branch3: average pool 3x3 --- 1x1 256 ---------------------------------------- [ ]

    x, y: (N, H, W, 1536).

    Parameters: 2 * 393,728 of the 1x1s to 256, 2 * 590,592 of those to 384, 2 * 295,424 of branch1_1a and 1b, 516,992 +
    689,152 of branch2_1 and 2, 2 * 393,728 of branch2_3a and 3b: 4,553,088. Figure 6.
    """

    def __init__(self) -> None:
        super().__init__(1536)
        self.branch0 = same(1536, 256, 1, 1)
        self.branch1_0 = same(1536, 384, 1, 1)
        self.branch1_1a = same(384, 256, 1, 3)
        self.branch1_1b = same(384, 256, 3, 1)
        self.branch2_0 = same(1536, 384, 1, 1)
        self.branch2_1 = same(384, 448, 3, 1)
        self.branch2_2 = same(448, 512, 1, 3)
        self.branch2_3a = same(512, 256, 1, 3)
        self.branch2_3b = same(512, 256, 3, 1)
        self.branch3 = pooled(1536, 256)
        self.out_channels = 1536

    def branches(self, x: Tensor) -> list[Tensor]:
        single = self.branch1_0(x)
        triple = run(x, self.branch2_0, self.branch2_1, self.branch2_2)
        return [self.branch0(x),
                self.branch1_1a(single), self.branch1_1b(single),
                self.branch2_3a(triple), self.branch2_3b(triple),
                self.branch3(x)]


@register("inception_v4")
def inception_v4(classes: Classes = 1000, dropout: Share = 0.2) -> nn.Module:
    """What is in the picture? Fourteen Inception blocks of three kinds, for colour pictures of 299 x 299

    Input: (N, 299, 299, 3), or pictures of another size, 75 x 75 at least. Output: (N, classes), logits. 42,679,816
    parameters with 1000 classes: models/inception_v4.py counts them. Layers have timm's names.

    dropout: the share of values set to zero before the last layer while training; the paper's, where timm has none.
    As in timm, there is no auxiliary classifier, and weights start as those of each layer do by themselves.
    """
    model = nn.Sequential({
        "features": nn.Sequential(
            nn.BasicConv2d(3, 32, 3, stride=2), nn.BasicConv2d(32, 32, 3), same(32, 64, 3, 3),
            Mixed3a(), Mixed4a(), Mixed5a(),
            *(BlockA() for _ in range(4)), ReductionA(384, 192, 224, 256, 384),
            *(BlockB() for _ in range(7)), ReductionB(),
            *(BlockC() for _ in range(3)),
        ),
        "global_pool": nn.GlobalAvgPool2d(),
        "flatten": nn.Flatten(),
        "head_drop": nn.Dropout(dropout),
        "last_linear": nn.Linear(1536, classes),
    })  # fmt: skip
    model.input_shape = (299, 299, 3)
    return model
