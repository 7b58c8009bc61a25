"""One line a block: how it is made, a PyTorch rendering with the same names, its parameters counted by hand.

`test_blocks.py` holds every line against PyTorch in values, gradients and running statistics, against numeric
differences in first and second derivatives, and fused against one layer at a time.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest

from minicnn import nn


class Case(NamedTuple):
    """A block and PyTorch's, the channels that come in, and the picture's size."""

    own: Callable[[], Any]
    theirs: Callable[[Any], Any]
    inputs: int
    size: tuple[int, int] = (7, 5)
    of: str = "torch"  # the module that is given to `theirs`

    def rendering(self, torchvision: Callable[[str], Any]) -> Any:
        """PyTorch's block; the test is skipped where there is none. torchvision: imports a module of it."""
        return self.theirs(pytest.importorskip("torch") if self.of == "torch" else torchvision(self.of))


# ------------------------------------------------------------------------------------------------ PyTorch renderings


def conv_norm(torch, inputs, outputs, kernel=3, stride=1, groups=1):
    padding = (kernel - 1) // 2
    return [torch.nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
            torch.nn.BatchNorm2d(outputs)]


def conv_norm_activation(torch, inputs, outputs, kernel=3, stride=1, groups=1):
    return torch.nn.Sequential(*conv_norm(torch, inputs, outputs, kernel, stride, groups), torch.nn.ReLU())


def squeeze_excitation(torch, channels, squeezed):
    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = torch.nn.Conv2d(channels, squeezed, 1)
            self.fc2 = torch.nn.Conv2d(squeezed, channels, 1)

        def forward(self, x):
            return x * self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()

    return Block()


def residual(torch, inputs, sizes, stride, squeezed=0):
    """A residual block of convolutions (channels, kernel, stride, and groups if there are several), the shortcut
    projected where it has to be."""

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            channels = inputs
            for number, (outputs, *how) in enumerate(sizes, 1):
                conv, norm = conv_norm(torch, channels, outputs, *how)
                self.add_module(f"conv{number}", conv)
                self.add_module(f"bn{number}", norm)
                channels = outputs
            if stride != 1 or inputs != channels:
                self.downsample = torch.nn.Sequential(*conv_norm(torch, inputs, channels, 1, stride))
            if squeezed:
                self.se = squeeze_excitation(torch, channels, squeezed)

        def forward(self, x):
            y = x
            for number in range(1, len(sizes) + 1):
                y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
                y = y.relu() if number < len(sizes) else y
            y = self.se(y) if squeezed else y
            return (y + (self.downsample(x) if hasattr(self, "downsample") else x)).relu()

    return Block()


def pre_activation(torch, inputs, sizes, stride):
    """The same with norm and ReLU before each convolution."""

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            channels = inputs
            for number, (outputs, *how) in enumerate(sizes, 1):
                self.add_module(f"bn{number}", torch.nn.BatchNorm2d(channels))
                self.add_module(f"conv{number}", conv_norm(torch, channels, outputs, *how)[0])
                channels = outputs
            if stride != 1 or inputs != channels:
                self.downsample = torch.nn.Conv2d(inputs, channels, 1, stride, bias=False)

        def forward(self, x):
            y = active = self.bn1(x).relu()
            for number in range(1, len(sizes) + 1):
                y = y if number == 1 else getattr(self, f"bn{number}")(y).relu()
                y = getattr(self, f"conv{number}")(y)
            return y + (self.downsample(active) if hasattr(self, "downsample") else x)

    return Block()


def of_two(inputs, channels, stride=1):
    """Convolutions of a basic block, as `residual` takes them."""
    return inputs, [(channels, 3, stride), (channels, 3, 1)], stride


def of_three(inputs, channels, stride=1, inner=None, groups=1):
    """Those of a bottleneck; inner: channels of its 3x3 if they are others."""
    inner = inner or channels
    return inputs, [(inner, 1, 1), (inner, 3, stride, groups), (4 * channels, 1, 1)], stride


def inverted_residual(torch, inputs, outputs, stride, expand_ratio):
    inner = inputs * expand_ratio

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            parts = [(inner, inner, 3, stride, inner)]
            if expand_ratio != 1:
                parts.insert(0, (inputs, inner, 1))
            layers = [torch.nn.Sequential(*conv_norm(torch, *part), torch.nn.ReLU6()) for part in parts]
            self.conv = torch.nn.Sequential(*layers, *conv_norm(torch, inner, outputs, 1))

        def forward(self, x):
            return self.conv(x) + x if stride == 1 and inputs == outputs else self.conv(x)

    return Block()


def inception(torch, inputs, one, before_three, three, before_five, five, pooled, kernel=5, squeezed=0):
    class Conv(torch.nn.Module):
        def __init__(self, inputs, outputs, kernel):
            super().__init__()
            self.conv = torch.nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
            self.bn = torch.nn.BatchNorm2d(outputs, eps=0.001)

        def forward(self, x):
            return self.bn(self.conv(x)).relu()

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            row = torch.nn.Sequential
            self.branch1 = Conv(inputs, one, 1)
            self.branch2 = row(Conv(inputs, before_three, 1), Conv(before_three, three, 3))
            self.branch3 = row(Conv(inputs, before_five, 1), Conv(before_five, five, kernel))
            self.branch4 = row(torch.nn.MaxPool2d(3, 1, 1), Conv(inputs, pooled, 1))
            if squeezed:
                self.se = squeeze_excitation(torch, one + three + five + pooled, squeezed)

        def forward(self, x):
            y = torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)
            return self.se(y) if squeezed else y

    return Block()


def depthwise_separable(torch, inputs, outputs, stride=1):
    return torch.nn.Sequential(conv_norm_activation(torch, inputs, inputs, 3, stride, inputs),
                               conv_norm_activation(torch, inputs, outputs, 1))


def xception(torch, inputs, channels, stride=1, first_relu=True):
    class Separable(torch.nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.depthwise = torch.nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
            self.pointwise = torch.nn.Conv2d(inputs, outputs, 1, bias=False)

        def forward(self, x):
            return self.pointwise(self.depthwise(x))

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            layers, before = [], inputs
            for outputs in channels:
                layers += [torch.nn.ReLU(), Separable(before, outputs), torch.nn.BatchNorm2d(outputs)]
                before = outputs
            layers += [torch.nn.MaxPool2d(3, stride, 1)] if stride > 1 else []
            self.rep = torch.nn.Sequential(*layers[not first_relu:])
            if stride > 1 or inputs != before:
                self.skip, self.skipbn = conv_norm(torch, inputs, before, 1, stride)

        def forward(self, x):
            return self.rep(x) + (self.skipbn(self.skip(x)) if hasattr(self, "skip") else x)

    return Block()


def mbconv(kind, ratio, kernel, stride, inputs, outputs):
    """torchvision's MBConv or FusedMBConv."""
    def make(networks):
        settings = getattr(networks, f"{kind}Config")(ratio, kernel, stride, inputs, outputs, 1)
        settings.input_channels, settings.out_channels = inputs, outputs  # it has rounded them to eights
        settings.adjust_channels = lambda channels, ratio: channels * ratio
        import torch

        return getattr(networks, kind)(settings, 0.0, torch.nn.BatchNorm2d)

    return make


def mobilenet_v3(inputs, kernel, inner, outputs, squeeze, activation, stride):
    def make(networks):
        import torch

        class Squeeze(networks.SElayer):  # torch's hardsigmoid has 1 / 6 in float32 even for float64
            def forward(self, x):
                scale = self.fc2(self.activation(self.fc1(self.avgpool(x))))
                return x * (torch.clamp(scale + 3, 0, 6) / 6)

        settings = networks.InvertedResidualConfig(8, kernel, 8, 8, squeeze, activation, stride, 1, 1.0)
        settings.input_channels, settings.expanded_channels, settings.out_channels = inputs, inner, outputs
        return networks.InvertedResidual(settings, partial(torch.nn.BatchNorm2d, eps=0.001, momentum=0.01), Squeeze)

    return make


def v3_norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=0.001, momentum=0.01)


def of_inception(kind, *arguments):
    """A block of torchvision's Inception v3."""
    return lambda networks: getattr(networks, f"Inception{kind}")(*arguments)


# --------------------------------------------------------------------------------------------------------- the table

CASES = {
    "basic": Case(lambda: nn.BasicBlock(6, 6), lambda t: residual(t, *of_two(6, 6)), 6),
    "basic, strided": Case(lambda: nn.BasicBlock(6, 6, 2), lambda t: residual(t, *of_two(6, 6, 2)), 6),
    "basic, wider": Case(lambda: nn.BasicBlock(4, 6), lambda t: residual(t, *of_two(4, 6)), 4),
    "bottleneck": Case(lambda: nn.Bottleneck(12, 3), lambda t: residual(t, *of_three(12, 3)), 12),
    "bottleneck, strided": Case(lambda: nn.Bottleneck(12, 3, 2), lambda t: residual(t, *of_three(12, 3, 2)), 12),
    "bottleneck, wider": Case(lambda: nn.Bottleneck(5, 3), lambda t: residual(t, *of_three(5, 3)), 5),
    "bottleneck, in groups": Case(lambda: nn.Bottleneck(12, 3, groups=4, width=32),
                                  lambda t: residual(t, *of_three(12, 3, inner=4, groups=4)), 12),
    "bottleneck, in groups, strided": Case(lambda: nn.Bottleneck(5, 4, 2, 3, 48),
                                           lambda t: residual(t, *of_three(5, 4, 2, 9, 3)), 5),
    "bottleneck, wide": Case(lambda: nn.Bottleneck(12, 3, width=128),
                             lambda t: residual(t, *of_three(12, 3, inner=6)), 12),
    "bottleneck of torchvision": Case(lambda: nn.Bottleneck(16, 4, groups=2, width=56),
                                      lambda v: v.Bottleneck(16, 4, groups=2, base_width=56), 16, of="models.resnet"),
    "pre-activation": Case(lambda: nn.PreActBasicBlock(6, 6), lambda t: pre_activation(t, *of_two(6, 6)), 6),
    "pre-activation, strided": Case(lambda: nn.PreActBasicBlock(4, 6, 2),
                                    lambda t: pre_activation(t, *of_two(4, 6, 2)), 4),
    "pre-activation bottleneck": Case(lambda: nn.PreActBottleneck(12, 3),
                                      lambda t: pre_activation(t, *of_three(12, 3)), 12),
    "pre-activation bottleneck, wider": Case(lambda: nn.PreActBottleneck(5, 3),
                                             lambda t: pre_activation(t, *of_three(5, 3)), 5),
    "inverted": Case(lambda: nn.InvertedResidual(4, 4, 1, 3), lambda t: inverted_residual(t, 4, 4, 1, 3), 4),
    "inverted, strided": Case(lambda: nn.InvertedResidual(4, 4, 2, 3), lambda t: inverted_residual(t, 4, 4, 2, 3), 4),
    "inverted, wider": Case(lambda: nn.InvertedResidual(4, 5, 1, 3), lambda t: inverted_residual(t, 4, 5, 1, 3), 4),
    "inverted, not expanded": Case(lambda: nn.InvertedResidual(4, 4, 1, 1),
                                   lambda t: inverted_residual(t, 4, 4, 1, 1), 4),
    "convolution": Case(lambda: nn.ConvNormActivation(4, 6, 3, 2), lambda t: conv_norm_activation(t, 4, 6, 3, 2), 4),
    "convolution, 5x5": Case(lambda: nn.ConvNormActivation(4, 6, 5), lambda t: conv_norm_activation(t, 4, 6, 5), 4),
    "inception": Case(lambda: nn.Inception(5, 3, 2, 4, 2, 3, 2), lambda t: inception(t, 5, 3, 2, 4, 2, 3, 2), 5),
    "inception, 3x3": Case(lambda: nn.Inception(5, 3, 2, 4, 2, 3, 2, kernel5x5=3),
                           lambda v: v.Inception(5, 3, 2, 4, 2, 3, 2), 5, of="models.googlenet"),
    **{f"inception {kind}": Case(partial(getattr(nn, f"Inception{kind}"), 3, *more), of_inception(kind, 3, *more), 3,
                                 size, of="models.inception")
       for kind, more, size in (("A", [2], (4, 3)), ("B", [], (5, 4)), ("C", [4], (4, 3)), ("D", [], (4, 3)),
                                ("E", [], (3, 2)))},
    "squeeze": Case(lambda: nn.SqueezeExcitation(6, 2), lambda t: squeeze_excitation(t, 6, 2), 6),
    "squeeze, others": Case(lambda: nn.SqueezeExcitation(6, 3, nn.SiLU, nn.Tanh),
                            lambda v: v.SqueezeExcitation(6, 3, v.torch.nn.SiLU, v.torch.nn.Tanh), 6,
                            of="ops.misc"),
    "squeezed basic": Case(lambda: nn.SEBasicBlock(6, 6, reduction=3), lambda t: residual(t, *of_two(6, 6), 2), 6),
    "squeezed basic, strided": Case(lambda: nn.SEBasicBlock(4, 6, 2, 2), lambda t: residual(t, *of_two(4, 6, 2), 3), 4),
    "squeezed bottleneck": Case(lambda: nn.SEBottleneck(12, 3, reduction=4),
                                lambda t: residual(t, *of_three(12, 3), 3), 12),
    "squeezed bottleneck, wider": Case(lambda: nn.SEBottleneck(5, 3), lambda t: residual(t, *of_three(5, 3), 1), 5),
    "squeezed inception": Case(lambda: nn.SEInception(5, 3, 2, 4, 2, 3, 2, reduction=4),
                               lambda t: inception(t, 5, 3, 2, 4, 2, 3, 2, squeezed=3), 5),
    "separable": Case(lambda: nn.DepthwiseSeparable(4, 6, 2), lambda t: depthwise_separable(t, 4, 6, 2), 4),
    "xception": Case(lambda: nn.XceptionBlock(4, (4, 4, 4)), lambda t: xception(t, 4, (4, 4, 4)), 4),
    "xception, strided": Case(lambda: nn.XceptionBlock(4, (5, 6), 2, first_relu=False),
                              lambda t: xception(t, 4, (5, 6), 2, False), 4),
    "mbconv": Case(lambda: nn.MBConv(4, 4, expand_ratio=3), mbconv("MBConv", 3, 3, 1, 4, 4), 4,
                   of="models.efficientnet"),
    "mbconv, strided": Case(lambda: nn.MBConv(4, 5, 5, 2, 3), mbconv("MBConv", 3, 5, 2, 4, 5), 4,
                            of="models.efficientnet"),
    "mbconv, not expanded": Case(lambda: nn.MBConv(8, 8, 3, 1, 1), mbconv("MBConv", 1, 3, 1, 8, 8), 8,
                                 of="models.efficientnet"),
    "mobilenet v3": Case(lambda: nn.MobileNetV3Block(4, 10, 4, 5, squeeze_channels=8, norm=v3_norm),
                         mobilenet_v3(4, 5, 10, 4, True, "HS", 1), 4, of="models.mobilenetv3"),
    "mobilenet v3, plain": Case(lambda: nn.MobileNetV3Block(4, 10, 6, 3, 2, activation=nn.ReLU, norm=v3_norm),
                                mobilenet_v3(4, 3, 10, 6, False, "RE", 2), 4, of="models.mobilenetv3"),
    "fused mbconv": Case(lambda: nn.FusedMBConv(4, 4), mbconv("FusedMBConv", 4, 3, 1, 4, 4), 4,
                         of="models.efficientnet"),
    "fused mbconv, strided": Case(lambda: nn.FusedMBConv(4, 6, 3, 2), mbconv("FusedMBConv", 4, 3, 2, 4, 6), 4,
                                  of="models.efficientnet"),
    "fused mbconv, not expanded": Case(lambda: nn.FusedMBConv(4, 4, 3, 1, 1), mbconv("FusedMBConv", 1, 3, 1, 4, 4), 4,
                                       of="models.efficientnet"),
}  # fmt: skip

#: Parameters counted by hand.
PARAMETERS = {
    "basic 64": (lambda: nn.BasicBlock(64, 64), 73_984),
    "basic 64 to 128": (lambda: nn.BasicBlock(64, 128, 2), 230_144),
    "bottleneck 64 in 256": (lambda: nn.Bottleneck(256, 64), 70_400),
    "bottleneck 64 to 256": (lambda: nn.Bottleneck(64, 64), 75_008),
    "bottleneck 64 in 256, 32x4d": (lambda: nn.Bottleneck(256, 64, groups=32, width=4), 71_168),
    "bottleneck 64 to 256, 32x4d": (lambda: nn.Bottleneck(64, 64, groups=32, width=4), 63_488),
    "bottleneck 64 in 256, wide": (lambda: nn.Bottleneck(256, 64, width=128), 214_016),
    "bottleneck 512 in 2048, 32x8d": (lambda: nn.Bottleneck(2048, 512, groups=32, width=8), 9_580_544),
    "pre-activation 64": (lambda: nn.PreActBasicBlock(64, 64), 73_984),
    "pre-activation 64 to 128": (lambda: nn.PreActBasicBlock(64, 128, 2), 229_760),
    "pre-activation bottleneck 64 in 256": (lambda: nn.PreActBottleneck(256, 64), 70_400),
    "pre-activation bottleneck 64 to 256": (lambda: nn.PreActBottleneck(64, 64), 74_112),
    "convolution": (lambda: nn.ConvNormActivation(3, 32), 928),
    "inception convolution": (lambda: nn.BasicConv2d(96, 128, 3), 110_848),
    "inception 3a": (lambda: nn.Inception(192, 64, 96, 128, 16, 32, 32), 164_064),
    "inception 3a of torchvision": (lambda: nn.Inception(192, 64, 96, 128, 16, 32, 32, kernel5x5=3), 155_872),
    "inception A, first": (lambda: nn.InceptionA(192, 32), 255_904),
    "inception A, second": (lambda: nn.InceptionA(256, 64), 277_472),
    "inception B": (lambda: nn.InceptionB(288), 1_153_280),
    "inception C": (lambda: nn.InceptionC(768, 128), 1_297_408),
    "inception D": (lambda: nn.InceptionD(768), 1_698_304),
    "inception E": (lambda: nn.InceptionE(1280), 5_044_608),
    "squeeze": (lambda: nn.SqueezeExcitation(64, 4), 580),
    "squeezed basic": (lambda: nn.SEBasicBlock(64, 64), 74_564),
    "squeezed bottleneck": (lambda: nn.SEBottleneck(256, 64), 78_864),
    "squeezed inception 3a": (lambda: nn.SEInception(192, 64, 96, 128, 16, 32, 32), 172_528),
    "separable": (lambda: nn.DepthwiseSeparable(32, 64), 2_528),
    "not separable": (lambda: nn.ConvNormActivation(32, 64), 18_560),
    "xception, first": (lambda: nn.XceptionBlock(64, (128, 128), 2, first_relu=False), 35_264),
    "xception, middle": (lambda: nn.XceptionBlock(728, (728, 728, 728)), 1_613_976),
    "inverted 24": (lambda: nn.InvertedResidual(24, 24, 1, 6), 8_832),
    "inverted 32 to 16": (lambda: nn.InvertedResidual(32, 16, 1, 1), 896),
    "mbconv 32 to 16": (lambda: nn.MBConv(32, 16, expand_ratio=1), 1_448),
    "mbconv 16 to 24": (lambda: nn.MBConv(16, 24, 3, 2), 6_004),
    "mobilenet v3 16 to 24": (lambda: nn.MobileNetV3Block(16, 72, 24, 3, 2, activation=nn.ReLU), 3_864),
    "mobilenet v3 24 to 40": (lambda: nn.MobileNetV3Block(24, 96, 40, 5, 2, squeeze_channels=24), 13_736),
    "fused mbconv 24": (lambda: nn.FusedMBConv(24, 24, expand_ratio=1), 5_232),
    "fused mbconv 24 to 48": (lambda: nn.FusedMBConv(24, 48, 3, 2), 25_632),
}
