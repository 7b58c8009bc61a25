"""The ground that all ways of looking inside stand on: what they are given is checked, the model runs in eval mode, its
scores are logits, and it is left as it was.

    with Looking("saliency", model, x, target) as look:
        for rows in look.batches(len(look.x)):                  # the numbers of the pictures, batch by batch
            slopes = look.gradients(look.x[rows], rows)         # arrays in, arrays out
"""

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np

from ..nn import Module, Sigmoid, evaluating
from ..nn.features import run_until
from ..nn.fuse import fusion
from ..nn.names import near
from ..ops.arguments import is_int
from ..ops.looking import RectifierRule, noting_squashed, rectifiers_pass_back
from ..tape import enable_grad, grad, no_grad
from ..tensor import FLOATS, Tensor, tensor

#: What a map is about: None, the single logit or each picture's highest; a class for all pictures; one for each
#: picture; or a function of what the model returns for a batch of pictures (of logits, where it ends in a softmax or
#: sigmoid: see `Looking`), giving one number for each picture.
Target = int | Sequence[int] | np.ndarray | Tensor | Callable[[Any], Tensor] | None

#: Called as `progress(done, total)`, in whatever a method counts: pictures, or passes through the model.
Progress = Callable[[int, int], object]

_locks: WeakKeyDictionary[Module, Any] = WeakKeyDictionary()
_locks_lock = threading.Lock()


def alone_with(model: Module) -> Any:
    """`with alone_with(model):` no other thread looks into this model, whose modes and hooks are set meanwhile."""
    with _locks_lock:
        return _locks.setdefault(model, threading.RLock())


class Looking:
    """A model, pictures and a target that are looked at; use it in a `with`.

    name: of the method, for errors. x: a float Tensor or array (N, ...), brought to the model's device and dtype.
    rule: what rectifiers pass back instead of their gradient.

    Inside, every module is in eval mode, and dropout does nothing. A softmax, log_softmax or sigmoid at the very end is
    looked through, layer or function: scores are the logits that went into it. What follows it may give its values
    another shape; if it picks or changes some, it isn't seen through, and where classes are scored a warning says so.
    On the way out all modes are as they were, and no hook is left; no `.grad` is ever written. Other threads that
    want to look into the same model wait. TypeError or ValueError if something doesn't fit.

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
            stack.enter_context(alone_with(self.model))
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

    def batches(self, total: int, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """The numbers 0..total-1, or those of them from start to before stop, in batches. `progress` is told when one
        is done."""
        end = total if stop is None else stop
        for first in range(start, end, self.batch_size):
            last = min(first + self.batch_size, end)
            yield np.arange(first, last)
            if self.progress is not None:
                self.progress(last, total)

    def tensor(self, array: np.ndarray, requires_grad: bool = False) -> Tensor:
        """An array where the model is."""
        return tensor(array, dtype=self.dtype, device=self.device, requires_grad=requires_grad)

    # ------------------------------------------------------------------------------------------------------ scores

    def outputs(self, x: Tensor) -> Any:
        """What the model makes of x, a softmax or sigmoid at the end looked through."""
        return self._outputs(x)[0]

    def _outputs(self, x: Tensor) -> tuple[Any, bool]:
        """`outputs`, and whether they are values of a softmax or sigmoid all the same."""
        with noting_squashed() as squashed:
            found = self.model(x)
        if not isinstance(found, Tensor) or not found.ndim:
            return found, False
        logits = squashed.look_through(found)
        return logits, logits is found and squashed.is_part_of(found)

    def logits(self, x: Tensor) -> Tensor:
        """The outputs as (N, classes)."""
        found, squashed = self._outputs(x)
        if not isinstance(found, Tensor):
            raise TypeError(f"{self.name}: the model returns {_kind(found)}, not a Tensor: target must be a function "
                            "that takes it and gives one number for each picture")
        if found.ndim == 1 and found.shape == x.shape[:1]:
            found = found.reshape((len(x), 1))
        if found.ndim != 2 or len(found) != len(x):
            raise ValueError(f"{self.name}: the model's outputs have shape {found.shape}, expected ({len(x)}, "
                             "classes); for others target must be a function that gives one number for each picture, "
                             "as `region` makes them")
        if squashed:
            warnings.warn(f"{self.name}: the model's outputs are values of a softmax or sigmoid, picked or changed by "
                          "what follows it: they are taken for logits", stacklevel=2)
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

    def run_until(self, names: Iterable[str], x: Tensor) -> dict[str, Tensor]:
        """What layers, or places marked with `nn.tap`, give for x, in the order of the names; of one that runs several
        times the first. The model runs no further than needed. ValueError for one that isn't there or doesn't run,
        TypeError for one that gives no Tensor."""
        wanted = tuple(names)
        known = dict(self.model.named_modules(remove_duplicate=False))
        for name in wanted:
            if not isinstance(name, str) or "." in name or name.isdecimal() or not name:  # no tap
                self.layer(name)
        if not wanted:
            raise ValueError(f"{self.name}: expected at least one layer")
        run = run_until(self.model, wanted, x)
        for name in wanted:
            if name not in run.found:
                raise ValueError(f"{self.name}: layer {name!r} doesn't run" if name in known else
                                 f"{self.name}: {type(self.model).__name__} has no layer {name!r}"
                                 f"{near(name, [*known, *sorted(run.passed)])}")
            if not isinstance(run.found[name], Tensor):
                raise TypeError(f"{self.name}: layer {name!r} gives {_kind(run.found[name])}, expected a Tensor")
        return {name: run.found[name] for name in wanted}

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


def check_seed(name: str, seed: Any) -> None:
    """ValueError unless a seed is an int of at least 0."""
    if not is_int(seed) or seed < 0:
        raise ValueError(f"{name}: seed must be an int of at least 0, got {seed!r}")


def check_noise(name: str, noise: Any) -> None:
    """ValueError unless a standard deviation is a number of at least 0."""
    if isinstance(noise, bool) or not isinstance(noise, int | float | np.number) or not 0 <= noise < np.inf:
        raise ValueError(f"{name}: noise must be a number of at least 0, got {noise!r}")


def numbered(numbers: Sequence[int] | np.ndarray, most: int = 8) -> str:
    """The first of some numbers, and how many more there are, for messages.

    >>> numbered([3, 5]), numbered(range(20), most=3)
    ('3, 5', '0, 1, 2 and 17 more')
    """
    shown = ", ".join(str(int(number)) for number in numbers[:most])
    return shown if len(numbers) <= most else f"{shown} and {len(numbers) - most} more"


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
    if not np.isfinite(array).all():
        wrong = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
        raise ValueError(f"{name}: x holds values that are infinite or not a number, in picture {numbered(wrong)}")
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
