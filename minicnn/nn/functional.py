"""Every op as a function, `mc.nn.functional` (usually F): the names are PyTorch's, the layout is channels last.

The file only gathers; each function lives beside its gradient in `minicnn/ops/`.
"""

from ..ops import getitem as _getitem  # noqa: F401 - it has no names to gather: it attaches x[index]
from ..ops.activation import *  # noqa: F403
from ..ops.adaptive_pool import *  # noqa: F403
from ..ops.compare import *  # noqa: F403
from ..ops.conv import *  # noqa: F403
from ..ops.conv1d_3d import *  # noqa: F403
from ..ops.conv_transpose import *  # noqa: F403
from ..ops.dropout import *  # noqa: F403
from ..ops.elementwise import *  # noqa: F403
from ..ops.group_norm import *  # noqa: F403
from ..ops.local import *  # noqa: F403
from ..ops.local_response_norm import *  # noqa: F403
from ..ops.loss import *  # noqa: F403
from ..ops.lp_pool import *  # noqa: F403
from ..ops.matmul import *  # noqa: F403
from ..ops.norm import *  # noqa: F403
from ..ops.pool import *  # noqa: F403
from ..ops.pool_1d_3d import *  # noqa: F403
from ..ops.reduce import *  # noqa: F403
from ..ops.resize import *  # noqa: F403
from ..ops.shape import *  # noqa: F403
from ..ops.unpool import *  # noqa: F403
from ..ops.weighted_pool import *  # noqa: F403
