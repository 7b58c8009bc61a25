"""The ground that all ways of looking inside stand on: what they are given is checked, the model runs in eval mode, its
scores are logits, and it is left as it was.

    with Looking("saliency", model, x, target) as look:
        for rows in look.batches(len(look.x)):                  # the numbers of the pictures, batch by batch
            slopes = look.gradients(look.x[rows], rows)         # arrays in, arrays out
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import numpy as np

from ..nn import Module, Sigmoid, evaluating
from ..nn.fuse import fusion
from ..nn.names import near
from ..ops.arguments import is_int
from ..ops.looking import RectifierRule, noting_squashed, rectifiers_pass_back
from ..tape import enable_grad, grad, no_grad
from ..tensor import FLOATS, Tensor, tensor

#: What a map is about: None, the single logit or each picture's highest; a class for all pictures; one for each
#: picture; or a function of what the model returns (for a batch of pictures), giving one number for each picture.
Target = int | Sequence[int] | np.ndarray | Tensor | Callable[[Any], Tensor] | None

#: Called as `progress(done, total)`, in whatever a method counts: pictures, or passes through the model.
Progress = Callable[[int, int], object]


class Looking:
    """A model, pictures and a target that are looked at; use it in a `with`.

    name: of the method, for errors. x: a float Tensor or array (N, ...), brought to the model's device and dtype.
    rule: what rectifiers pass back instead of their gradient.

    Inside, every module is in eval mode, and dropout does nothing. A softmax, log_softmax or sigmoid at the very end is
    looked through, layer or function: scores are the logits that went into it. If anything comes after it, even a
    reshape, it isn't seen. On the way out all modes are as they were, and no hook is left; no `.grad` is ever written.
    TypeError or ValueError if something doesn't fit.

    >>> import minicnn as mc
    >>> model = mc.nn.Sequential(mc.nn.Flatten(), mc.nn.Linear(12, 3), mc.nn.Softmax())
    >>> with Looking("example", model, mc.ones(5, 2, 2, 3), target=2) as look:
    ...     slopes = look.gradients(look.x, range(5))
    >>> slopes.shape, bool((slopes[0].ravel() == model[1].weight[:, 2].numpy()).all())
    ((5, 2, 2, 3), True)
    """

    def __init__(self, name: str, model: Module, x: Tensor | np.ndarray, target: Target = None, *,
                 batch_size: int = 32, progress: Progress | None = None, rule: RectifierRule | None = None):
        if not isinstance(model, Module):
            raise TypeError(f"{name}: model must be a Module, got {type(model).__name__}")
        if not is_int(batch_size) or batch_size < 1:
            raise ValueError(f"{name}: batch_size must be an int of at least 1, got {batch_size!r}")
        self.name, self.model, self.batch_size, self.progress, self.rule = name, model, batch_size, progress, rule
        self.dtype, self.device = _home(model, x)
        self.x = _pictures(name, model, x).astype(self.dtype)  # (N, ...), an array of the caller's own
        self.target = _checked_target(name, target, len(self.x))
        self._classes: np.ndarray | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(evaluating(self.model))
            if self.rule is not None:
                stack.enter_context(fusion(False))
                stack.enter_context(rectifiers_pass_back(self.rule))
            for module in self.model.modules():
                if isinstance(module, Sigmoid):  # it would be fused with a norm before it, and not be seen
                    stack.enter_context(module.register_forward_hook(lambda *_: None))
            self._way_out = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._way_out.close()

    # ------------------------------------------------------------------------------------------------- many passes

    def batches(self, total: int) -> Iterator[np.ndarray]:
        """The numbers 0..total-1 in batches. `progress` is told when one is done."""
        for start in range(0, total, self.batch_size):
            stop = min(start + self.batch_size, total)
            yield np.arange(start, stop)
            if self.progress is not None:
                self.progress(stop, total)

    def tensor(self, array: np.ndarray, requires_grad: bool = False) -> Tensor:
        """An array where the model is."""
        return tensor(array, dtype=self.dtype, device=self.device, requires_grad=requires_grad)

    # ------------------------------------------------------------------------------------------------------ scores

    def outputs(self, x: Tensor) -> Any:
        """What the model makes of x, a softmax or sigmoid at the end looked through."""
        with noting_squashed() as squashed:
            found = self.model(x)
        return squashed.look_through(found) if isinstance(found, Tensor) else found

    def logits(self, x: Tensor) -> Tensor:
        """The outputs as (N, classes)."""
        found = self.outputs(x)
        if not isinstance(found, Tensor):
            raise TypeError(f"{self.name}: the model returns {_kind(found)}, not a Tensor: target must be a function "
                            "that takes it and gives one number for each picture")
        if found.ndim == 1 and found.shape == x.shape[:1]:
            found = found.reshape((len(x), 1))
        if found.ndim != 2 or len(found) != len(x):
            raise ValueError(f"{self.name}: the model's outputs have shape {found.shape}, expected ({len(x)}, "
                             "classes); for others target must be a function that gives one number for each picture, "
                             "as `region` makes them")
        return found

    @property
    def classes(self) -> np.ndarray | None:
        """The class of each picture that the target means; None if it is a function."""
        if callable(self.target):
            return None
        if self._classes is None:
            self._classes = self._highest() if self.target is None else self.target
        return self._classes

    def _highest(self) -> np.ndarray:
        starts = range(0, len(self.x), self.batch_size)
        with no_grad():
            batches = [self.logits(self.tensor(self.x[start : start + self.batch_size])) for start in starts]
        return np.concatenate([logits.numpy().argmax(axis=1) for logits in batches])

    def scores(self, x: Tensor, pictures: Sequence[int] | np.ndarray) -> Tensor:
        """The target's logit for each of x, (n,). pictures: for each of x, which of the N it is a variant of: the class
        is that of the original."""
        if callable(self.target):
            found = self.target(self.outputs(x))
            if not isinstance(found, Tensor) or found.shape != x.shape[:1] or found.dtype not in FLOATS:
                raise ValueError(f"{self.name}: the target function gave {_kind(found)}, expected float numbers "
                                 f"of shape {x.shape[:1]}, one for each picture")
            return found
        return self.chosen(self.logits(x), pictures)

    def chosen(self, logits: Tensor, pictures: Sequence[int] | np.ndarray) -> Tensor:
        """Of logits (n, classes), or what is made of them, those of the target's classes, (n,)."""
        wanted = self.classes
        assert wanted is not None
        wanted = wanted[np.asarray(pictures)]
        if wanted.max() >= logits.shape[1]:
            raise ValueError(f"{self.name}: target {wanted.max()} is out of range, the model has {logits.shape[1]} "
                             f"output{'s' if logits.shape[1] > 1 else ''}, counted from 0")
        return logits[np.arange(len(wanted)), wanted]

    def score_values(self, x: np.ndarray, pictures: Sequence[int] | np.ndarray) -> np.ndarray:
        """`scores` as numbers, of arrays, with nothing recorded: one batch."""
        return self.scores(self.tensor(x), pictures).numpy()

    def all_scores(self, x: np.ndarray) -> np.ndarray:
        """`score_values` of a variant of each of the N pictures, in batches."""
        every = np.arange(len(self.x))
        batches = [every[start : start + self.batch_size] for start in range(0, len(every), self.batch_size)]
        return np.concatenate([self.score_values(x[rows], rows) for rows in batches])

    def gradients(self, x: np.ndarray, pictures: Sequence[int] | np.ndarray) -> np.ndarray:
        """The gradient by each of x of its own score, of x's shape: one batch."""
        with enable_grad():
            inputs = self.tensor(x, requires_grad=True)
            return self._gradient(self.scores(inputs, pictures), inputs, "x").numpy()

    def _gradient(self, scores: Tensor, by: Tensor, what: str) -> Tensor:
        found = grad(scores.sum(), by, allow_unused=True)[0] if scores.requires_grad else None
        if found is None:
            raise ValueError(f"{self.name}: the target doesn't depend on {what}, it has no gradient by it")
        return found

    # ------------------------------------------------------------------------------------------------------ layers

    def layer(self, name: str) -> Module:
        """A layer by its dotted name."""
        return named(self.name, self.model, name)

    @contextmanager
    def changing(self, layer: str, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Inside, what the layer gives is `change(output)`."""
        with self.layer(layer).register_forward_hook(lambda module, inputs, output: change(output)):
            yield

    @contextmanager
    def watching(self, layer: str) -> Iterator[list[Tensor]]:
        """Inside, the list takes what the layer gives."""
        found: list[Tensor] = []
        with self.layer(layer).register_forward_hook(lambda module, inputs, output: found.append(output)):
            yield found

    def layer_gradients(self, layer: str, x: np.ndarray, pictures: Sequence[int] | np.ndarray
                        ) -> tuple[np.ndarray, np.ndarray]:
        """What the layer gives for each of x, and the gradient by it of each one's own score: one batch."""
        _ = self.classes  # takes a pass of its own, which is not to be watched
        with enable_grad(), self.watching(layer) as found:
            scores = self.scores(self.tensor(x, requires_grad=True), pictures)
            output = self.only(layer, found)
            return output.numpy(), self._gradient(scores, output, f"layer {layer!r}").numpy()

    def layer_outputs(self, layer: str, x: np.ndarray) -> np.ndarray:
        """What the layer gives for each of x: one batch."""
        with self.watching(layer) as found:
            self.model(self.tensor(x))
        return self.only(layer, found).numpy()

    def only(self, layer: str, found: Sequence[Any]) -> Tensor:
        """The one thing that a layer gave in a pass; a ValueError unless it is one Tensor."""
        if len(found) != 1:
            raise ValueError(f"{self.name}: layer {layer!r} runs {len(found)} times in a pass, expected once; name "
                             "another, such as the block around it")
        if not isinstance(found[0], Tensor):
            raise TypeError(f"{self.name}: layer {layer!r} gives {_kind(found[0])}, expected a Tensor")
        return found[0]


def region(mask: np.ndarray | Tensor, channel: int) -> Callable[[Tensor], Tensor]:
    """A target: the sum of a channel's logits over a part of the picture, for models whose outputs are pictures of
    logits (N, h, w, classes), as those that label each pixel.

    mask: (h, w), what counts where, True or 1 inside; of the size of the outputs.

    >>> import minicnn as mc
    >>> model = mc.nn.Conv2d(3, 2, 1)  # each pixel is of class 0 or 1
    >>> mask = np.zeros((8, 8), bool)
    >>> mask[:4] = True
    >>> slopes = mc.vis.saliency(model, mc.ones(1, 8, 8, 3), target=mc.vis.region(mask, channel=1))
    >>> slopes.any(axis=(0, 2, 3)).tolist()
    [True, True, True, True, False, False, False, False]
    """
    weights = np.asarray(mask.numpy() if isinstance(mask, Tensor) else mask, dtype=np.float64)
    if weights.ndim != 2 or not weights.any():
        raise ValueError(f"region: mask must be (h, w) with something inside, got shape {weights.shape}")
    if not is_int(channel) or channel < 0:
        raise ValueError(f"region: channel must be an int of at least 0, got {channel!r}")

    def target(outputs: Tensor) -> Tensor:
        if outputs.ndim != 4 or outputs.shape[1:3] != weights.shape or outputs.shape[3] <= channel:
            raise ValueError(f"region: the model's outputs have shape {outputs.shape}, expected (N, h, w, classes) "
                             f"with (h, w) = {weights.shape} and more than {channel} classes")
        inside = tensor(weights, dtype=outputs.dtype, device=outputs.device)
        return (outputs[..., channel] * inside).sum(dim=(1, 2))

    return target


# ----------------------------------------------------------------------------------------------------------- checks


def named(name: str, model: Module, layer: str) -> Module:
    """A layer of a model by its dotted name; an error of the method `name` if there is none."""
    known = dict(model.named_modules(remove_duplicate=False))
    if not isinstance(layer, str):
        raise TypeError(f"{name}: layer must be a dotted name, got {type(layer).__name__}")
    if layer not in known or not layer:
        raise ValueError(f"{name}: {type(model).__name__} has no layer {layer!r}{near(layer, known)}")
    return known[layer]


def _home(model: Module, x: Any) -> tuple[np.dtype, str]:
    """The dtype and the device that a model's arrays have; x's own if it has none."""
    for own in (*model.parameters(), *model.buffers()):
        if own.dtype in FLOATS:
            return own.dtype, own.device
    dtype = np.dtype(getattr(x, "dtype", np.float32))
    return dtype if dtype in FLOATS else FLOATS[0], x.device if isinstance(x, Tensor) else "cpu"


def _pictures(name: str, model: Module, x: Any) -> np.ndarray:
    """x as an array (N, ...), if it is one."""
    if not isinstance(x, Tensor | np.ndarray):
        raise TypeError(f"{name}: x must be a Tensor or an array, got {type(x).__name__}")
    array = x.numpy() if isinstance(x, Tensor) else x
    if array.dtype not in FLOATS:
        hint = "; pictures of bytes are divided by 255" if array.dtype == np.uint8 else ""
        raise TypeError(f"{name}: x must be float32 or float64, got {array.dtype}{hint}")
    expected = getattr(model, "input_shape", None)
    if array.ndim < 2 or (expected is not None and array.shape == tuple(expected)):
        raise ValueError(f"{name}: x must be a batch, such as (N, H, W, C), got shape {array.shape}; x[None] is a "
                         "batch of one")
    if not array.size:
        raise ValueError(f"{name}: x is empty, its shape is {array.shape}")
    return array


def _checked_target(name: str, target: Any, count: int) -> Any:
    """The target as None, a function, or an array of `count` classes."""
    if target is None or callable(target):
        return target
    if is_int(target):
        wanted = np.full(count, target)
    else:
        wanted = np.asarray(target.numpy() if isinstance(target, Tensor) else target)
        if wanted.dtype.kind not in "iu":
            raise TypeError(f"{name}: target must be None, a class, a class for each picture or a function, got "
                            f"{target!r:.60}")
        if wanted.shape != (count,):
            raise ValueError(f"{name}: target has shape {wanted.shape}, expected ({count},): a class for each picture")
    if wanted.min() < 0:
        raise ValueError(f"{name}: target {wanted.min()} is below 0")
    return wanted


def _kind(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
