"""Xception: Chollet 2017, "Xception: Deep learning with depthwise separable convolutions" (figure 5)."""

from .. import nn
from .options import Classes, Share
from .registry import register
from .starting import start_by_fan_out

# Input channels, those behind each separable convolution, stride: blocks 1 to 12.
BLOCKS = ((64, (128, 128), 2), (128, (256, 256), 2), (256, (728, 728), 2), *[(728, (728, 728, 728), 1)] * 8,
          (728, (728, 1024), 2))


@register("xception", aliases=("legacy_xception",))
@start_by_fan_out()
def xception(classes: Classes = 1000, dropout: Share = 0.5) -> nn.Module:
    """What is in the picture? Residual blocks of depthwise separable convolutions, for colour pictures of 299 x 299

    Input: (N, 299, 299, 3), or pictures of another size of at least 7 x 7. Output: (N, classes), logits. dropout: the
    share of values set to zero before the dense layer while training, as in the paper (section 4.3); timm's
    legacy_xception, whose names the layers have, has none. Weights start as those of `resnet18`.

    Parameters, by hand (those of a block stand with `nn.XceptionBlock`). A separable 3x3 from i to o channels has 9 * i
    + i * o, its norm 2 * o:

        conv1, bn1   3x3 stride 2, 3 -> 32        864 + 64                        =        928    149 x 149
        conv2, bn2   3x3, 32 -> 64                18,432 + 128                    =     18,560    147
        block1       64 -> 128 -> 128             9,024 + 17,792 + 8,448          =     35,264    74
        block2       128 -> 256 -> 256            34,432 + 68,352 + 33,280        =    136,064    37
        block3       256 -> 728 -> 728            190,128 + 537,992 + 187,824     =    915,944    19
        block4-11    728 -> 728 -> 728 -> 728     8 * 3 * 537,992                 = 12,911,808    19
        block12      728 -> 728 -> 1024           537,992 + 754,072 + 747,520     =  2,039,584    10
        conv3, bn3   separable, 1024 -> 1536      9,216 + 1,572,864 + 3,072       =  1,585,152    10
        conv4, bn4   separable, 1536 -> 2048      13,824 + 3,145,728 + 4,096      =  3,163,648    10, pooled to 1
        fc           Linear, 2048 -> 1000         2048 * 1000 + 1000              =  2,049,000
                                                                                    22,855,952

    The third number of a block is that of its shortcut. The first two convolutions have no padding.
    """
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(3, 32, 3, stride=2, bias=False), "bn1": nn.BatchNorm2d(32), "act1": nn.ReLU(),
        "conv2": nn.Conv2d(32, 64, 3, bias=False), "bn2": nn.BatchNorm2d(64), "act2": nn.ReLU(),
    }  # fmt: skip
    for number, (inputs, channels, stride) in enumerate(BLOCKS, start=1):
        layers[f"block{number}"] = _block(inputs, channels, stride, first_relu=number > 1)
    for number, inputs, outputs in ((3, 1024, 1536), (4, 1536, 2048)):
        separable = nn.SeparableConv2d(inputs, outputs, 3, padding=1, bias=False)
        layers |= {f"conv{number}": _renamed(separable), f"bn{number}": nn.BatchNorm2d(outputs),
                   f"act{number}": nn.ReLU()}
    layers |= {"avgpool": nn.GlobalAvgPool2d(), "flatten": nn.Flatten(), "dropout": nn.Dropout(dropout),
               "fc": nn.Linear(2048, classes)}
    model = nn.Sequential(layers)
    model.input_shape = (299, 299, 3)
    return model


def _block(inputs: int, channels: tuple[int, ...], stride: int, first_relu: bool) -> nn.XceptionBlock:
    block = nn.XceptionBlock(inputs, channels, stride, first_relu)
    for place, layer in enumerate(block.rep):
        if isinstance(layer, nn.SeparableConv2d):
            block.rep[place] = _renamed(layer)
    return block


def _renamed(separable: nn.SeparableConv2d) -> nn.Sequential:
    """The two convolutions under timm's names."""
    return nn.Sequential({"conv1": separable.depthwise, "pointwise": separable.pointwise})
