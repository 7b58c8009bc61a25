"""The ways of looking that a report can show: what each is called, and what to read in its map."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from ..nn.names import near
from . import cams, deconvnet, gradients, perturb


class Method(NamedTuple):
    """look: the function of `vis`. about: what its map shows, for a reader who has never seen one.

    quick: it takes a second at most where the picture is small, so it is shown unless others are asked for; occlusion
    and integrated gradients pass through the model many times even so. at_layer: it takes a layer. slope: its values
    say which way a pixel should change, not how much it adds: below 0 a darker one would raise the score.
    """

    look: Callable[..., np.ndarray]
    title: str
    about: str
    quick: bool = False
    at_layer: bool = False
    slope: bool = False

    @property
    def name(self) -> str:
        return self.look.__name__


METHODS = (
    Method(cams.grad_cam, "Grad-CAM", quick=True, at_layer=True, about=
           "The places of the layer whose channels raise the score, each channel weighed by its mean gradient."),
    Method(cams.grad_cam_plus_plus, "Grad-CAM++", at_layer=True, about=
           "Grad-CAM with weights that let several small places count as much as one large one."),
    Method(cams.hires_cam, "HiRes-CAM", quick=True, at_layer=True, about=
           "As Grad-CAM, but weighed place by place: it shows only what the score truly used where one linear "
           "layer follows."),
    Method(cams.layer_cam, "Layer-CAM", at_layer=True, about=
           "Weighed place by place, by the gradients that raise the score; finer in early layers."),
    Method(cams.xgrad_cam, "XGrad-CAM", at_layer=True, about=
           "Grad-CAM with gradients weighed by the activations, so that the map adds up to the score more "
           "nearly."),
    Method(cams.score_cam, "Score-CAM", at_layer=True, about=
           "Each channel weighed by the score of the picture seen through it alone; no gradients."),
    Method(cams.ablation_cam, "Ablation-CAM", at_layer=True, about=
           "Each channel weighed by how much the score falls without it; no gradients."),
    Method(cams.eigen_cam, "Eigen-CAM", at_layer=True, about=
           "What the layer's channels have most in common, whatever the class: it cannot tell classes apart."),
    Method(perturb.occlusion, "Occlusion", quick=True, about=
           "How much the score falls when a square there is blacked out."),
    Method(gradients.integrated_gradients, "Integrated gradients", quick=True, about=
           "Each pixel's share of the difference between this score and that of a black picture."),
    Method(gradients.input_x_gradient, "Input x gradient", about=
           "A first guess at each pixel's share of the score: its value times its gradient."),
    Method(gradients.saliency, "Saliency", quick=True, slope=True, about=
           "Which pixels change the score most if they change a little: the gradient."),
    Method(gradients.smooth_grad, "SmoothGrad", slope=True, about=
           "The gradient, averaged over noisy copies of the picture: less speckled."),
    Method(gradients.var_grad, "VarGrad", slope=True, about=
           "How much the gradient varies over noisy copies of the picture."),
    Method(deconvnet.guided_backprop, "Guided backpropagation", quick=True, slope=True, about=
           "The gradient, with all that lowers the score left out on the way back: sharp, but it hardly depends "
           "on the class."),
    Method(deconvnet.deconvnet, "Deconvnet", slope=True, about=
           "What the picture has that excites the layers, sent back through switched unpooling (Zeiler and "
           "Fergus)."),
    Method(deconvnet.guided_grad_cam, "Guided Grad-CAM", at_layer=True, slope=True, about=
           "Guided backpropagation where Grad-CAM looks."),
)  # fmt: skip

BY_NAME = {method.name: method for method in METHODS}
QUICK = tuple(method for method in METHODS if method.quick)


def find(names: Iterable[str]) -> tuple[Method, ...]:
    """Methods by their names, in the order of the table; "all" is every one, "quick" those that are
    shown unless others are asked for. Names may have dashes. ValueError for any other name, with the list."""
    wanted: set[str] = set()
    for name in names:
        plain = name.strip().lower().replace("-", "_")
        if plain in ("all", "quick"):
            wanted |= {method.name for method in (METHODS if plain == "all" else QUICK)}
        elif plain in BY_NAME:
            wanted.add(plain)
        else:
            hint = near(plain, BY_NAME) or f"; there is all, quick, {', '.join(BY_NAME)}"
            raise ValueError(f"there is no method {name.strip()!r}{hint}")
    if not wanted:
        raise ValueError(f"expected at least one method; there is all, quick, {', '.join(BY_NAME)}")
    return tuple(method for method in METHODS if method.name in wanted)
