"""Layers, containers and losses; the same as functions in `functional`; starting weights in `init`.

A layer's file marks it with @layer; this file only gathers.
"""

from . import functional as functional
from . import init as init
from .activation import *  # noqa: F403
from .adaptive_pool import *  # noqa: F403
from .blocks import *  # noqa: F403
from .containers import *  # noqa: F403
from .conv import *  # noqa: F403
from .conv_transpose import *  # noqa: F403
from .dropout import *  # noqa: F403
from .features import Features as Features
from .features import features as features
from .features import tap as tap
from .group_norm import *  # noqa: F403
from .linear import *  # noqa: F403
from .local import *  # noqa: F403
from .loss import *  # noqa: F403
from .mode import evaluating as evaluating
from .module import Module as Module
from .module import Parameter as Parameter
from .norm import *  # noqa: F403
from .pool import *  # noqa: F403
from .resize import *  # noqa: F403
from .unpool import *  # noqa: F403
