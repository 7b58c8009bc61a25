"""What a network sees in a picture, gathered for a reader: the maps of many methods, how far each can be trusted, and
what every layer makes of the picture; and the folder with the page that shows it.

    found = report.explain(model, picture, report.find(["quick"]), answer, "face.png")
    report.write_report("explained", [found], "the smile detector")
"""

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ..nn import Module
from ..nn import functional as F
from ..tensor import Tensor
from . import paint
from .activations import activations
from .cams import grad_cam
from .class_maps import resized
from .layers import named_or_last
from .looking import Looking
from .metrics import deletion_curve
from .perturb import occlusion
from .report_content import Answer, Explanation, LayerSeen, MapFound
from .report_methods import METHODS, Method, find
from .report_page import PAGE, is_page, make_page

__all__ = ["METHODS", "Answer", "Explanation", "LayerSeen", "MapFound", "Method", "aim", "explain", "find",
           "write_report"]  # fmt: skip

SIDE = 256  # pixels, at least, of a map that is written to a file
LONGEST = 100  # bytes of a picture's name, or a layer's, in those of its files
BESIDE = ".explained-"  # how the name of a folder begins that holds a report until it is whole


# ------------------------------------------------------------------------------------------------------------ gathering

def explain(model: Module, picture: np.ndarray, methods: Sequence[Method], answer: Answer, name: str = "picture",
            layer: str | None = None, progress: Callable[[str], object] = lambda doing: None) -> Explanation:
    """Look at a picture (H, W, C), uint8, in all the ways of `methods`, and at what each layer makes of it.

    layer: of the class activation maps; the last convolution unless given. progress: is told what comes next, once for
    each method, once for the curves and once for the layers.
    """
    x = picture[None].astype(np.float32) / np.float32(255)
    score, chance = aim(answer)
    with Looking("explain", model, x, score) as look:
        if layer is not None or any(method.at_layer for method in methods):
            layer = named_or_last(look, layer)
        value = float(look.score_values(look.x, [0])[0])
        black = float(look.score_values(np.zeros_like(look.x), [0])[0])
    values, ranks, notes = [], [], []
    for method in methods:
        progress(method.title)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a map that is 0 everywhere: the page says so itself
            found = method.look(model, x, score, **_options(method, layer, picture.shape))[0]
        values.append(_of_picture_size(paint.as_map(found), picture.shape[:2]))
        # Of a slope the steepest pixels go first, whichever way they are steep and in whichever channel.
        ranks.append(np.abs(found).max(axis=-1) if method.slope else values[-1])
        notes.append(_note(method, found, value))
    progress("deletion curves")
    curves = _deletion(model, x, ranks, chance)
    maps = [MapFound(method, one, _numbers(method, one, area, value - black), curve, note)
            for method, one, curve, area, note in zip(methods, values, *curves, notes, strict=True)]
    progress("layers")
    return Explanation(name, picture, answer, value, layer, maps, _layers(model, x))


def aim(answer: Answer) -> tuple[Any, Any]:
    """What the maps explain and what the curves follow, as targets of the methods: a class's logit, and its
    probability. Of a detector's one logit, "no" is explained by the logit negated."""
    target = answer.target

    def logit(outputs: Tensor) -> Tensor:
        return outputs[:, target] if outputs.shape[1] > 1 else outputs[:, 0] if target == 1 else -outputs[:, 0]

    def probability(outputs: Tensor) -> Tensor:
        return F.softmax(outputs, dim=-1)[:, target] if outputs.shape[1] > 1 else F.sigmoid(logit(outputs))

    return logit, probability


def _options(method: Method, layer: str | None, shape: tuple[int, ...]) -> dict[str, Any]:
    if method.look is occlusion:  # as many windows over any picture as over one of 64 x 64, if it isn't tiny
        strides = [max(1, -(-side // 16)) for side in shape[:2]]
        return {"window": [2 * stride for stride in strides], "stride": strides}
    return {"layer": layer} if method.at_layer else {}


def _of_picture_size(values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    return values if values.shape == size else resized(values[None], size)[0]


def _deletion(model: Module, x: np.ndarray, maps: Sequence[np.ndarray], chance: Any) -> tuple[np.ndarray, np.ndarray]:
    """The deletion curves of all maps of one picture at once, and the areas under them."""
    found = deletion_curve(model, np.repeat(x, len(maps), axis=0), np.stack(maps), chance)
    return found.scores, found.areas


def _numbers(method: Method, values: np.ndarray, area: float, difference: float) -> dict[str, float]:
    """What can be said of a map in numbers. difference: of the score from that of a black picture, to which integrated
    gradients add up (Sundararajan et al. 2017, completeness)."""
    numbers = {"lowest": float(values.min()), "highest": float(values.max()), "deletion area": float(area)}
    if method.name == "integrated_gradients":
        numbers["completeness error"] = float(values.sum(dtype=np.float64)) - difference
    return numbers


def _note(method: Method, found: np.ndarray, score: float) -> str:
    """A warning to the reader of a Grad-CAM that has next to nothing to do with the score. Before negative values were
    cut off, it would add up to the layer's share of the score where a global average pool follows."""
    total = float(found.sum(dtype=np.float64))
    if method.look is not grad_cam or total >= abs(score) / 10:
        return ""
    return (f"all of this map adds up to {total:.2g}, next to a score of {score:.3g}. The gradients all but cancel "
            "when their mean is taken, so where it is brightest says little.")


def _layers(model: Module, x: np.ndarray) -> list[LayerSeen]:
    """The layers that do something: one that only passes on what it is given, as dropout does here, is left out."""
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    seen: list[LayerSeen] = []
    before = np.empty(0)
    for name, output in activations(model, x).items():
        if output.ndim in (2, 4) and not (seen and np.array_equal(before.ravel(), output.ravel())):
            seen.append(LayerSeen.of(name, kinds[name], output[0]))
            before = output
    return seen


# -------------------------------------------------------------------------------------------------------------- writing

def write_report(folder: str | Path, explanations: Sequence[Explanation], model: str) -> dict[str, Any]:
    """Write `index.html`, which needs no other file, and a PNG of each map and layer to a folder.

    model: what to call it. Everything is there before anything older is replaced, and the page comes last. Of an
    earlier report, files of other names stay. ValueError if the folder holds anything but an earlier report. Returns
    what a program may want to know of it all.
    """
    folder = Path(folder)
    check_folder(folder)
    files: dict[str, bytes] = {}
    stems = _plain_names(Path(one.name).stem for one in explanations)
    told = [_describe(one, stem, files) for one, stem in zip(explanations, stems, strict=True)]
    files[PAGE] = make_page(explanations, model).encode(errors="replace")  # of a file whose name isn't UTF-8
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=BESIDE, dir=folder) as beside:  # a full disk is noticed in there
        for file, content in files.items():
            Path(beside, file).write_bytes(content)
        for file in files:
            os.replace(Path(beside, file), folder / file)
    return {"page": str(folder / PAGE), "images": told}


def _describe(one: Explanation, stem: str, files: dict[str, bytes]) -> dict[str, Any]:
    """What a program may want to know of a picture; the files of its maps and layers are added to `files`."""
    maps, layers = [], []
    for found in one.maps:
        file = f"{stem}-{found.method.name}.png"
        picture = paint.enlarge(paint.overlay(one.picture, found.values), SIDE, smooth=found.method.at_layer)
        files[file] = paint.png(paint.with_bar(picture, paint.scale_of(found.values)))
        numbers = {name.replace(" ", "_"): value for name, value in found.numbers.items()}
        maps.append({"method": found.method.name, "file": file, **numbers})
    for seen, name in zip(one.layers, _plain_names(seen.name for seen in one.layers), strict=True):
        file = f"{stem}-layer-{name}.png"
        files[file] = seen.sheet
        layers.append({"layer": seen.name, "kind": seen.kind, "shape": list(seen.shape),
                       "silent_share": seen.silent, "file": file})
    chances = {name: float(chance) for name, chance in zip(one.answer.names, one.answer.chances, strict=True)}
    return {"image": one.name, "target": one.answer.target, "class": one.answer.names[one.answer.target],
            "score": one.score, "probabilities": chances, "layer": one.layer, "maps": maps, "layers": layers}


def check_folder(folder: str | Path) -> None:
    """ValueError unless a report may be written there: nothing is, or an empty folder, or an earlier report."""
    folder = Path(folder)
    if folder.is_dir():
        others = [file for file in folder.iterdir() if not file.name.startswith(BESIDE)]
        if others and not is_page(folder / PAGE):
            raise ValueError(f"{folder} holds files that are not of an explanation: it is left alone, choose another "
                             "folder")
    elif folder.exists() or folder.is_symlink():
        raise ValueError(f"{folder} is not a folder: it is left alone, choose another name")


def _plain_names(names: Iterable[str]) -> list[str]:
    """Names as parts of file names: of letters, digits, "-", "_" and ".", not too long, with a number where two would
    be the same."""
    found: list[str] = []
    for name in names:
        plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
        plain = plain.encode()[:LONGEST].decode(errors="ignore") or "picture"
        again = 2
        unique = plain
        while unique in found:
            unique, again = f"{plain}-{again}", again + 1
        found.append(unique)
    return found
