"""Blocks of layers that networks repeat. The file only gathers:

    conv_norm.py    convolution + norm + activation
    residual.py     the residual blocks of ResNet, original and pre-activation
    inception.py    the Inception blocks of GoogLeNet and Inception v3
    squeeze.py      squeeze-and-excitation, alone and at the end of a residual and an Inception block
    separable.py    depthwise separable convolutions in MobileNet's order and in Xception's
    mobile.py       inverted residuals: MobileNetV2 and V3, MBConv and fused MBConv of the EfficientNets

The layers inside have torchvision's names where it has such a block, so that its weights load with
`load_state_dict(..., layout="torch")`. In the drawings (+) adds and (*) multiplies what arrives from two sides, and
[ ] puts channels side by side. Sizes are halved with stride 2, an odd one rounded up.
"""

from .conv_norm import *  # noqa: F403
from .inception import *  # noqa: F403
from .mobile import *  # noqa: F403
from .residual import *  # noqa: F403
from .separable import *  # noqa: F403
from .squeeze import *  # noqa: F403
