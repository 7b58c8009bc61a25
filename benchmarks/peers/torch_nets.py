"""The networks in PyTorch, with minicnn's and torchvision's names, so that weights can be exchanged.

ResNet: He et al., "Deep Residual Learning for Image Recognition" (2015). VGG: Simonyan and Zisserman, "Very Deep
Convolutional Networks for Large-Scale Image Recognition" (2014). MobileNetV2: Sandler et al., "MobileNetV2: Inverted
Residuals and Linear Bottlenecks" (2018).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# --------------------------------------------------------------------------------------------------- small pictures

def smile_detector() -> nn.Module:
    """5x5 convolutions; ReLU stands before the batch norm."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.BatchNorm2d(16), nn.MaxPool2d(2), nn.Dropout(0.1),
        nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.BatchNorm2d(32), nn.MaxPool2d(2), nn.Dropout(0.1),
        nn.Flatten(), nn.Linear(16 * 16 * 32, 128), nn.ReLU(), nn.Linear(128, 1),
    )  # fmt: skip


def mnist_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(3 * 3 * 64, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


class Normalize(nn.Module):
    """Shifts and scales each channel by fixed statistics."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean[:, None, None]) / self.std[:, None, None]


def cifar10_net() -> nn.Module:
    def block(inputs: int, outputs: int, padding: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=padding), nn.BatchNorm2d(outputs), nn.GELU()]

    return nn.Sequential(
        Normalize(3),
        *block(3, 32, 1), *block(32, 32, 1), nn.MaxPool2d(2), nn.Dropout(0.2),
        *block(32, 64, 1), *block(64, 64, 1), nn.MaxPool2d(2), nn.Dropout(0.3),
        *block(64, 128, 0), *block(128, 128, 0), nn.MaxPool2d(2), nn.Dropout(0.5),
        nn.Flatten(), nn.Linear(2 * 2 * 128, 10),
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- ResNet

class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, downsample: nn.Module | None):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, downsample: nn.Module | None):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Four groups of blocks; each but the first halves the picture."""

    def __init__(self, block: type[BasicBlock] | type[Bottleneck], depths: Sequence[int], classes: int = 1000):
        super().__init__()
        self.channels = 64
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._group(block, 64, depths[0], 1)
        self.layer2 = self._group(block, 128, depths[1], 2)
        self.layer3 = self._group(block, 256, depths[2], 2)
        self.layer4 = self._group(block, 512, depths[3], 2)
        self.fc = nn.Linear(512 * block.expansion, classes)

    def _group(self, block: type[BasicBlock] | type[Bottleneck], width: int, depth: int, stride: int) -> nn.Sequential:
        outputs = width * block.expansion
        downsample = None
        if stride > 1 or self.channels != outputs:
            downsample = nn.Sequential(nn.Conv2d(self.channels, outputs, 1, stride, bias=False),
                                       nn.BatchNorm2d(outputs))
        first = block(self.channels, width, stride, downsample)
        self.channels = outputs
        return nn.Sequential(first, *(block(outputs, width, 1, None) for _ in range(depth - 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


# -------------------------------------------------------------------------------------------------------------- VGG

class VGG(nn.Module):
    """3x3 convolutions, "M" for a pool, three dense layers."""

    def __init__(self, layers: Sequence[int | str], classes: int = 1000):
        super().__init__()
        features: list[nn.Module] = []
        channels = 3
        for layer in layers:
            if isinstance(layer, str):
                features.append(nn.MaxPool2d(2))
            else:
                features += [nn.Conv2d(channels, layer, 3, padding=1), nn.ReLU(inplace=True)]
                channels = layer
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(
            nn.Linear(7 * 7 * 512, 4096), nn.ReLU(inplace=True), nn.Dropout(),
            nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(),
            nn.Linear(4096, classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), 7).flatten(1))


def vgg16() -> nn.Module:
    return VGG([64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"])


# ------------------------------------------------------------------------------------------------------ MobileNetV2

def conv_bn_relu6(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
                         nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """1x1 to more channels, 3x3 on each, 1x1 to fewer, without an activation."""

    def __init__(self, inputs: int, outputs: int, stride: int, expand: int):
        super().__init__()
        hidden = inputs * expand
        self.adds = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            *([conv_bn_relu6(inputs, hidden, size=1)] if expand > 1 else []),
            conv_bn_relu6(hidden, hidden, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, classes: int = 1000):
        super().__init__()
        features: list[nn.Module] = [conv_bn_relu6(3, 32, stride=2)]
        channels = 32
        # Expansion, channels, blocks, stride of the first: table 2 of the paper.
        for expand, outputs, count, stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                                               (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
            for place in range(count):
                features.append(InvertedResidual(channels, outputs, stride if place == 0 else 1, expand))
                channels = outputs
        self.features = nn.Sequential(*features, conv_bn_relu6(channels, 1280, size=1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


NETS: dict[str, Callable[[], nn.Module]] = {
    "smile_detector": smile_detector,
    "mnist_net": mnist_net,
    "cifar10_net": cifar10_net,
    "resnet18": lambda: ResNet(BasicBlock, (2, 2, 2, 2)),
    "resnet34": lambda: ResNet(BasicBlock, (3, 4, 6, 3)),
    "resnet50": lambda: ResNet(Bottleneck, (3, 4, 6, 3)),
    "resnet101": lambda: ResNet(Bottleneck, (3, 4, 23, 3)),
    "resnet152": lambda: ResNet(Bottleneck, (3, 8, 36, 3)),
    "vgg16": vgg16,
    "mobilenet_v2": MobileNetV2,
}
