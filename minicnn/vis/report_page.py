"""The page of a report: one HTML file that needs no other file, no network and, to be read, no script.

The looks and the little script are in report.html, into which the content goes that is written here.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np

from . import paint
from .report_content import Explanation, MapFound

PAGE = "index.html"
MARK = '<meta name="generator" content="minicnn explain">'  # by which a page of ours is known again
MOST_CLASSES = 5
OPACITY = 80  # percent, until the reader says otherwise


def is_page(path: Path) -> bool:
    """Whether a file is a page that was written here."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return MARK in file.read(2000)
    except OSError:
        return False


def make_page(explanations: Sequence[Explanation], model: str) -> str:
    """The whole page, as HTML. model: what to call it."""
    template = Template(files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
    names = [one.name for one in explanations]
    pictures = names[0] if len(names) == 1 else f"{len(names)} pictures"
    contents = ""
    if len(names) > 1:
        links = "".join(f'<li><a href="#picture-{number}">{escape(name)}</a></li>' for number, name in enumerate(names))
        contents = f'<nav aria-label="Pictures"><ul class="contents">{links}</ul></nav>'
    bodies = "\n".join(_article(one, number) for number, one in enumerate(explanations))
    return template.substitute(mark=MARK, title=escape(f"What {model} sees in {pictures}"), model=escape(model),
                               pictures=escape(pictures), contents=contents, bodies=bodies, opacity=OPACITY,
                               signed=_gradient(paint.SIGNED), unsigned=_gradient(paint.UNSIGNED))


def _article(one: Explanation, number: int) -> str:
    picture = paint.as_bytes(one.picture)
    key = f"picture-{number}"
    target = escape(one.answer.names[one.answer.target])
    at = f", class activation maps at layer <code>{escape(one.layer)}</code>" if one.layer is not None else ""
    ratio = f"{picture.shape[1]} / {picture.shape[0]}"
    return f"""
<article id="{key}" aria-labelledby="{key}-name" style="--picture: url({_data_url(picture)}); --ratio: {ratio}">
<h2 id="{key}-name">{escape(one.name)}</h2>
<div class="said">
<div class="original" role="img"
 aria-label="The picture {escape(one.name)}, {picture.shape[1]} by {picture.shape[0]} pixels"></div>
{_predictions(one)}
</div>
<h3 id="{key}-maps">What speaks for “{target}”</h3>
<p>The score explained is the logit, {one.score:.3g}{at}.</p>
<p class="all"><label for="{key}-all">Opacity of all maps</label>
<input id="{key}-all" type="range" min="0" max="100" step="5" value="{OPACITY}" data-all></p>
<ul class="maps" aria-labelledby="{key}-maps">
{"".join(_card(one, found, f"{key}-{found.method.name}") for found in one.maps)}
</ul>
<h3 id="{key}-layers">What each layer makes of it</h3>
{_strip(one, key)}
</article>"""


def _predictions(one: Explanation) -> str:
    chances = np.asarray(one.answer.chances)
    best = [int(k) for k in np.argsort(-chances, kind="stable")[:MOST_CLASSES]]
    if one.answer.target not in best:
        best.append(one.answer.target)
    rows = "".join(
        f'<tr><th scope="row">{escape(one.answer.names[k])}</th><td>{chances[k]:.1%}</td>'
        f'<td class="bar"><span style="width: {100 * float(chances[k]):.1f}%"></span></td></tr>' for k in best
    )
    return ('<table class="predictions"><caption>What the network says</caption><thead class="hidden"><tr>'
            '<th scope="col">class</th><th scope="col">probability</th><td></td></tr></thead>'
            f"<tbody>{rows}</tbody></table>")


# ----------------------------------------------------------------------------------------------------------------- maps

def _card(one: Explanation, found: MapFound, key: str) -> str:
    """A map over its picture, with its slider, its colour bar and its numbers."""
    method, scale = found.method, paint.scale_of(found.values)
    title = escape(method.title)
    smooth = "smooth" if method.at_layer else "pixels"
    ends = ("darker helps", "brighter helps") if method.slope else ("against", "for")
    picture, words = _data_url(paint.clear(found.values)), _in_words(found.values, method.slope)
    note = f'<p class="note"><strong>Mind:</strong> {escape(found.note)}</p>' if found.note else ""
    return f"""<li class="card"><h4 id="{key}">{title}</h4>
<div class="stack"><img class="{smooth}" src="{picture}" alt="{title} over {escape(one.name)}: {words}"></div>
<label class="slider">opacity<span class="hidden"> of {title}</span>
<input type="range" min="0" max="100" step="5" value="{OPACITY}" data-map></label>
{_bar(scale, ends if scale.signed else ("nothing", "most"))}{note}
<p>{escape(method.about)}</p>
<p class="where">{words.capitalize()}.</p>
{_list({name: f"{value:.3g}" for name, value in found.numbers.items()})}{_curve(found.deletion, title)}</li>
"""


def _bar(scale: paint.Scale, words: tuple[str, str] = ("", "")) -> str:
    """The colours and the numbers that they stand for; words: what the lowest and the highest mean."""
    low, high = (f"<br>{word}" if word else "" for word in words)
    beyond = " or more" if scale.clipped else ""
    middle = "<span>0</span>" if scale.signed else ""
    return (f'<div class="scale {"signed" if scale.signed else "unsigned"}"><div class="colours"></div>'
            f'<div class="marks"><span>{scale.low:.2g}{low}</span>{middle}'
            f"<span>{scale.high:.2g}{beyond}{high}</span></div></div>")


def _curve(scores: np.ndarray, title: str) -> str:
    """The deletion curve as a small drawing: from the whole picture at the left to nothing of it at the right."""
    points = " ".join(f"{100 * place / (len(scores) - 1):.1f},{40 - 38 * float(score):.1f}"
                      for place, score in enumerate(scores))
    quarter, half = scores[len(scores) // 4], scores[len(scores) // 2]
    label = (f"Deletion curve of {title}: probability {scores[0]:.2f} for the whole picture, {quarter:.2f} without its "
             f"first quarter, {half:.2f} without half of it")
    return (f'<svg class="curve" viewBox="0 0 100 40" preserveAspectRatio="none" role="img" aria-label="{label}">'
            f'<line x1="0" y1="40" x2="100" y2="40"/><polyline points="{points}"/></svg>'
            '<p class="axis" aria-hidden="true"><span>whole picture</span><span>all of it deleted</span></p>')


def _in_words(values: np.ndarray, slope: bool) -> str:
    """Where a map is strongest, for those who don't see it, or not its colours."""
    if values.min() >= 0:
        return f"strongest {_place(values)}" if values.any() else "0 everywhere"
    more, less = ("brighter helps most", "darker helps most") if slope else ("most for it", "most against it")
    against = f"{less} {_place(-values)}"
    return f"{more} {_place(values)}, {against}" if values.max() > 0 else against


def _place(values: np.ndarray) -> str:
    """The ninth of the picture in which a map has most of what is above 0."""
    rows, columns = (np.array_split(np.arange(size), 3) for size in values.shape)
    mass = np.array([[np.maximum(values[np.ix_(row, column)], 0).sum() for column in columns] for row in rows])
    row, column = divmod(int(mass.argmax()), 3)
    if row == column == 1:
        return "in the middle"
    if row == 1:
        return f"at the {('left', '', 'right')[column]}"
    side = ("left", "middle", "right")[column]
    return f"at the {'top' if row == 0 else 'bottom'} {side}"


# --------------------------------------------------------------------------------------------------------------- layers

def _strip(one: Explanation, key: str) -> str:
    """The layers as a row of tabs, each with its feature maps below. Without a script all of them are shown."""
    tabs, panels = [], []
    for number, seen in enumerate(one.layers):
        shape = " x ".join(map(str, seen.shape))
        name = f"{escape(seen.name)} {escape(seen.kind)}"
        tab, panel = f"{key}-tab-{number}", f"{key}-layer-{number}"
        tabs.append(f'<button type="button" role="tab" id="{tab}" aria-controls="{panel}">'
                    f'<img class="pixels" alt="" src="{_data_url(seen.thumbnail)}"><b>{escape(seen.name)}</b>'
                    f"<span>{escape(seen.kind)}</span><small>{shape}</small></button>")
        shown = ", ".join(map(str, seen.channels))
        facts = {"shape": shape, "lowest": f"{seen.lowest:.3g}", "highest": f"{seen.highest:.3g}",
                 "channels that stay 0": f"{seen.silent:.0%}"}
        panels.append(
            f'<section class="layer" role="tabpanel" id="{panel}" aria-labelledby="{tab}" tabindex="0">'
            f'<h4>{name}</h4><div class="sides"><img class="pixels sheet" src="{_data_url(seen.sheet)}"'
            f' alt="{len(seen.channels)} feature maps of layer {name}, the strongest first">'
            f"<div>{_bar(seen.scale)}{_list(facts)}"
            f"<details><summary>Which channels these are</summary><p>Row by row: {shown}</p></details></div>"
            "</div></section>"
        )
    return (f'<div class="strip" role="tablist" aria-labelledby="{key}-layers">{"".join(tabs)}</div>'
            + "".join(panels))


# --------------------------------------------------------------------------------------------------------------- pieces

def _list(facts: Mapping[str, str]) -> str:
    rows = (f"<div><dt>{escape(name)}</dt><dd>{fact}</dd></div>" for name, fact in facts.items())
    return f"<dl>{''.join(rows)}</dl>"


def _data_url(picture: np.ndarray | bytes) -> str:
    """A picture, or the PNG file of one, as an address that holds it."""
    file = picture if isinstance(picture, bytes) else paint.png(picture)
    return "data:image/png;base64," + base64.b64encode(file).decode()


def _gradient(table: np.ndarray) -> str:
    """A table of colours for CSS."""
    def stops() -> Iterator[str]:
        for place in np.linspace(0, len(table) - 1, 17).astype(int):
            yield f"rgb({table[place][0]} {table[place][1]} {table[place][2]})"

    return f"linear-gradient(to right, {', '.join(stops())})"
