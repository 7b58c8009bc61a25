"""The models: `create(name)` builds one, `list_models()` names them all, `save` and `load` keep them in files."""

# A model registers itself when it is imported.
from . import cifar, googlenet, mnist, mobilenet, resnet, smile, vgg  # noqa: F401
from .registry import create, list_models, register
from .saving import load, save

__all__ = ["create", "list_models", "load", "register", "save"]
