"""The models: `create(name)` builds one, `list_models()` names them all, `save` and `load` keep them in files."""

# A model registers itself when it is imported.
from . import (  # noqa: F401
    alexnet,
    cifar,
    efficientnet,
    efficientnet_lite,
    efficientnet_v2,
    googlenet,
    inception_resnet_v2,
    inception_v3,
    inception_v4,
    mnist,
    mobilenet,
    mobilenet_v3,
    preresnet,
    resnet,
    resnext,
    seresnet,
    smile,
    vgg,
    xception,
)
from .registry import create, list_models, register
from .saving import load, save

__all__ = ["create", "list_models", "load", "register", "save"]
