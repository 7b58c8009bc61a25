"""Looking inside a network: what its layers make of a picture, and which parts of the picture its scores come from.

Maps of a score are called (model, x, target=None, ...), what asks about a layer or a filter takes its name. All of it
gives arrays and draws nothing. The ground that the methods stand
on is `Looking` in looking.py; layers.py says which layers there are to look at. What draws is in `figures`, matplotlib
figures of the results, and `report`, the page of `minicnn explain`.
"""

from . import figures, report
from .activations import activations, dead_share, filters
from .cams import (
    ablation_cam,
    eigen_cam,
    grad_cam,
    grad_cam_plus_plus,
    hires_cam,
    layer_cam,
    score_cam,
    xgrad_cam,
)
from .deconvnet import deconvnet, guided_backprop, guided_grad_cam
from .dream import deep_dream
from .gradients import input_x_gradient, integrated_gradients, saliency, smooth_grad, var_grad
from .looking import region
from .maximize import Priors, filter_sheet, maximize_activation
from .metrics import deletion_curve, insertion_curve, road
from .patches import top_patches
from .perturb import feature_ablation, occlusion
from .randomization import randomization_check
from .receptive import receptive_field

__all__ = ["Priors", "ablation_cam", "activations", "dead_share", "deconvnet", "deep_dream", "deletion_curve",
           "eigen_cam", "feature_ablation", "figures", "filter_sheet", "filters", "grad_cam", "grad_cam_plus_plus",
           "guided_backprop", "guided_grad_cam", "hires_cam", "input_x_gradient", "insertion_curve",
           "integrated_gradients", "layer_cam", "maximize_activation", "occlusion", "randomization_check",
           "receptive_field", "region", "report", "road", "saliency", "score_cam", "smooth_grad", "top_patches",
           "var_grad", "xgrad_cam"]  # fmt: skip
