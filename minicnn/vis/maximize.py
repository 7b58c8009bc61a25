"""What would a class, a filter or a layer most like to see? Pictures painted to drive it as high as they can.

Erhan et al., "Visualizing Higher-Layer Features of a Deep Network" (2009); Simonyan, Vedaldi & Zisserman, "Deep Inside
Convolutional Networks" (2013), section 2; Yosinski et al., "Understanding Neural Networks Through Deep Visualization"
(2015); Olah, Mordvintsev & Schubert, "Feature Visualization" (2017).
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from ..nn import Module
from ..nn.names import near
from ..ops.arguments import is_int
from ..optim import Adam
from ..tape import enable_grad, grad
from ..tensor import Tensor
from .canvas import Canvas
from .goal import Goal
from .looking import Looking, Progress, Target, check_seed, numbered
from .sampling import moved

#: Called in each step as (step, pictures, scores); the ascent stops where it returns True.
Callback = Callable[[int, np.ndarray, np.ndarray], object]


class Maximized(NamedTuple):
    """pictures (N, H, W, C), and the scores (N,) that the model gives them; frames (F, N, H, W, C), if they were asked
    for: the pictures on the way, the finished ones last."""

    pictures: np.ndarray
    scores: np.ndarray
    frames: np.ndarray


class FilterSheet(NamedTuple):
    """channels (F,) of a layer, the strongest first, with the picture painted for each (F, H, W, C) and its score."""

    channels: np.ndarray
    pictures: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Priors:
    """What keeps a picture from being noise that only this network reads.

    In each step the picture is moved by up to `jitter` pixels, turned by up to `rotate` degrees and scaled by up to
    1 +- `scale`, at random, before the network sees it. After each step it is blurred by a Gaussian of `blur` pixels,
    which falls to 0 at the end. From the score is taken `tv` times the mean difference of neighbouring pixels (total
    variation), and `l2` times the mean square distance from the middle of the range.

    >>> Priors(jitter=8.0)
    Priors(jitter=8.0, rotate=5.0, scale=0.05, blur=0.0, tv=0.0, l2=0.0)
    """

    jitter: float = 4.0
    rotate: float = 5.0
    scale: float = 0.05
    blur: float = 0.0
    tv: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, int | float | np.number) or not 0 <= value < np.inf:
                raise ValueError(f"{name} must be a number of at least 0, got {value!r}")
        if self.scale >= 1:
            raise ValueError(f"scale must be below 1, the whole size, got {self.scale}")

    def moved(self, pictures: Tensor, random: np.random.Generator) -> Tensor:
        """The pictures as the network sees them in a step."""
        shift = tuple(random.uniform(-self.jitter, self.jitter, 2))
        return moved(pictures, shift, random.uniform(-self.rotate, self.rotate),
                     1 + random.uniform(-self.scale, self.scale))

    def penalty(self, pictures: Tensor, middle: float) -> Tensor | float:
        """What is taken from the scores, of all pictures together."""
        taken: Tensor | float = 0.0
        if self.tv:
            down, right = pictures[:, 1:] - pictures[:, :-1], pictures[:, :, 1:] - pictures[:, :, :-1]
            taken += self.tv * len(pictures) * (down.abs().mean() + right.abs().mean())
        if self.l2:
            taken += self.l2 * len(pictures) * ((pictures - middle) ** 2).mean()
        return taken


def maximize_activation(
    model: Module, target: Target = None, *, layer: str | None = None, channel: int | Sequence[int] | None = None,
    size: int | Sequence[int] | None = None, start: np.ndarray | Tensor | None = None, max_iter: int = 256,
    lr: float = 0.05, fourier: bool = True, colours: str | np.ndarray | None = None,
    value_range: tuple[float, float] = (0.0, 1.0), seed: int = 0, frames: int = 0, batch_size: int = 32,
    callback: Callback | None = None, progress: Progress | None = None, **priors: float,
) -> Maximized:
    """Pictures that maximize an activation, by gradient ascent (Adam) from faint noise.

    target: the class whose logit is to rise, or several, a picture for each; or a function of the model's outputs. May
    be left out for a single logit. layer: instead of a class, a layer by its dotted name: what is to rise is the mean
    activation of its `channel`, of several a picture for each, or of none the mean square of all it gives.

    size: of the pictures, H or (H, W) or (H, W, C), where it isn't the model's input_shape; a model with a Flatten
    takes no other, but its layers before that do. start: a picture (H, W, C), or one for each, to begin with. max_iter,
    lr: how many steps, and how long they are. value_range: of the pixels, which never leave it. fourier: whether the
    picture is made of frequencies rather than pixels; colours: "decorrelated", "plain", "grey" (for networks that have
    seen no colour) or a matrix, see canvas.py. **priors: see `Priors`.

    frames: keep the pictures each so many steps. callback: called in each step as (step, pictures, scores), pictures as
    painted so far and scores as they were when moved about; the ascent stops where it returns True. Results don't
    depend on batch_size, how many pictures are painted at a time; of more than that the callback is given one batch
    after the other, from step 0 anew, and True ends the batch at hand only. A warning says which pictures nothing
    drives: a channel of a ReLU, say, that is silent all the way.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(3, 4, 3), mc.nn.ReLU(), mc.nn.AdaptiveAvgPool2d(1), mc.nn.Flatten(),
    ...                          mc.nn.Linear(4, 2))
    >>> painted = mc.vis.maximize_activation(model, [0, 1], size=(16, 16, 3), max_iter=8, jitter=2)
    >>> painted.pictures.shape, painted.scores.shape
    ((2, 16, 16, 3), (2,))
    """
    name = "maximize_activation"
    goal, prior = Goal(name, target, layer, channel), _priors(name, priors)
    check_seed(name, seed)
    for label, value, least in (("max_iter", max_iter, 1), ("frames", frames, 0), ("batch_size", batch_size, 1)):
        if not is_int(value) or value < least:
            raise ValueError(f"{name}: {label} must be an int of at least {least}, got {value!r}")
    low, high = value_range
    if not low < high or not lr > 0:
        raise ValueError(f"{name}: value_range must rise and lr be positive, got {value_range!r} and {lr!r}")
    begin = None if start is None else np.asarray(start)
    if begin is not None and begin.size and not low <= begin.min() <= begin.max() <= high:
        raise ValueError(f"{name}: start has values from {begin.min()} to {begin.max()}, outside of value_range, "
                         f"{value_range!r}")
    shape = _shape(name, model, size, begin, 1 if goal.wanted is None else len(goal.wanted))
    mixing = colours if colours is not None else "decorrelated" if shape[3] == 3 else "plain"

    def canvas_of(rows: np.ndarray) -> Canvas:
        canvas = Canvas((len(rows), *shape[1:]), fourier, mixing, (low, high), look.dtype, look.device)
        if begin is None:
            canvas.scatter([np.random.default_rng((seed, int(row))) for row in rows])
        else:
            canvas.paint(np.broadcast_to(begin, shape)[rows])
        return canvas

    with goal.look(model, np.full(shape, (low + high) / 2, np.float32)) as look, enable_grad():
        goal.check(look)
        every = np.arange(len(look.x))
        ascent = _Ascent(look, goal, prior, max_iter, lr, seed, frames, callback, progress, every < 0)
        done = [ascent.run(canvas_of(rows), rows) for rows in np.split(every, every[batch_size::batch_size])]
    if not ascent.driven.all():
        warnings.warn(f"{name}: nothing drives picture {numbered(np.flatnonzero(~ascent.driven))}: the gradient of the "
                      "score was 0 in every step, as behind a ReLU that lets nothing through; drive the layer before "
                      "it, or start elsewhere", stacklevel=2)
    longest = max(len(one.frames) for one in done)  # those that a callback stopped early stand still
    films = [one.frames[np.minimum(np.arange(longest), len(one.frames) - 1)] for one in done]
    return Maximized(np.concatenate([one.pictures for one in done]), np.concatenate([one.scores for one in done]),
                     np.concatenate(films, axis=1))


@dataclass
class _Ascent:
    """The steps that paint pictures."""

    look: Looking
    goal: Goal
    priors: Priors
    max_iter: int
    lr: float
    seed: int
    frames: int
    callback: Callback | None
    progress: Progress | None
    driven: np.ndarray  # (N,) whether a score has had a gradient in any step

    def run(self, canvas: Canvas, rows: np.ndarray) -> Maximized:
        """Paint on a canvas. rows: which of all pictures its pictures are."""
        kept: list[np.ndarray] = []
        for step, (pictures, scores) in enumerate(self.steps(canvas, rows)):
            if self.frames and step % self.frames == 0:
                kept.append(pictures)
            if self.progress is not None:
                everything = len(self.look.x) * self.max_iter
                self.progress(int(rows[0]) * self.max_iter + (step + 1) * len(rows), everything)
            if self.callback is not None and self.callback(step, pictures, scores):
                break
        finished = canvas.pictures()
        scores = self.goal.scores(self.look, finished, rows).numpy()
        kept += [finished.numpy()] * bool(self.frames)
        return Maximized(finished.numpy(), scores, np.array(kept, finished.dtype).reshape(-1, *finished.shape))

    def steps(self, canvas: Canvas, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Step by step the pictures, and the scores of what the network sees of them; then they are moved on."""
        random, optimizer = np.random.default_rng(self.seed), Adam([canvas.parameter], lr=self.lr)
        for step in range(self.max_iter):
            pictures = canvas.pictures()
            scores = self.goal.scores(self.look, self.priors.moved(pictures, random), rows)
            penalty = self.priors.penalty(pictures, sum(canvas.range) / 2)
            (slope,) = grad(-scores.sum(), [canvas.parameter], retain_graph=isinstance(penalty, Tensor))
            self.driven[rows] |= slope.numpy().reshape(len(rows), -1).any(axis=1)
            if isinstance(penalty, Tensor):
                slope = slope + grad(penalty, [canvas.parameter])[0]
            canvas.parameter.grad = slope
            yield pictures.numpy(), scores.numpy()
            optimizer.step()
            if self.priors.blur:
                canvas.blur(self.priors.blur * (1 - (step + 1) / self.max_iter))


def filter_sheet(model: Module, layer: str, count: int = 64, *, progress: Progress | None = None,
                 **options: Any) -> FilterSheet:
    """What the filters of a layer look for: a picture painted for each, the strongest first.

    count: how many of the strongest are kept, 64 for a sheet of 8 x 8. options: as for `maximize_activation`; `size`
    lets the pictures be smaller than the model's input, as small as what a filter sees. A filter's strength is the mean
    activation that its picture reaches: so all of the layer's are painted, however few are kept. For those of some
    channels only, call `maximize_activation` with layer and channel.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Conv2d(3, 8, 3), mc.nn.ReLU())
    >>> sheet = mc.vis.filter_sheet(model, "0", 4, size=(8, 8, 3), max_iter=4)
    >>> sheet.pictures.shape, bool((sheet.scores[:-1] >= sheet.scores[1:]).all())
    ((4, 8, 8, 3), True)
    """
    if not is_int(count) or count < 1:
        raise ValueError(f"filter_sheet: count must be an int of at least 1, got {count!r}")
    for option in ("target", "channel"):
        if option in options:
            raise TypeError(f"filter_sheet: {option} is not an option, as every channel of the layer is painted; "
                            "maximize_activation takes it")
    start = options.get("start")
    shape = _shape("filter_sheet", model, options.get("size"), None if start is None else np.asarray(start), 1)
    with Looking("filter_sheet", model, np.zeros(shape, np.float32)) as look:
        look.layer(layer)
        output = look.run_until([layer], look.tensor(look.x))[layer]
    painted = maximize_activation(model, layer=layer, channel=range(output.shape[-1]), progress=progress, **options)
    strongest = np.argsort(-painted.scores, kind="stable")[:count]
    return FilterSheet(strongest, painted.pictures[strongest], painted.scores[strongest])


def _priors(name: str, given: dict[str, Any]) -> Priors:
    """The priors by their names."""
    known = [field.name for field in fields(Priors)]
    for prior in given:
        if prior not in known:
            raise TypeError(f"{name}: there is no option {prior!r}{near(prior, known)}")
    try:
        return Priors(**given)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _shape(name: str, model: Module, size: Any, start: np.ndarray | None, count: int) -> tuple[int, int, int, int]:
    """(N, H, W, C) of the pictures, of what is known of them."""
    if start is not None:
        if size is not None or start.ndim not in (3, 4) or start.dtype.kind != "f":
            raise ValueError(f"{name}: start must be float pictures (H, W, C) or (N, H, W, C), which say their size, "
                             f"got {start.dtype} {start.shape} and size {size!r}")
        starts = start.shape[0] if start.ndim == 4 else 1
        return (count if starts == 1 else starts), *start.shape[-3:]
    given = getattr(model, "input_shape", None)
    sides = given if size is None else (size, size) if is_int(size) else tuple(size)
    if sides is not None and len(sides) == 2 and given is not None:
        sides = (*sides, given[-1])
    if sides is None or len(sides) != 3 or not all(is_int(side) and side >= 1 for side in sides):
        raise ValueError(f"{name}: size must be (H, W, C) where the model doesn't say it by an input_shape, got "
                         f"{size!r}")
    high, wide, channels = sides
    return count, int(high), int(wide), int(channels)
