"""The results for people: a Markdown table a part."""

from collections.abc import Iterable
from typing import Any

from .pairs import FEWEST
from .peers import PEERS
from .results import PARTS, RUN, Measured, Row, Settings

HEAD = """# How fast

Each line: the median over the rounds in which neither side was preempted. The last but one column is the peer's figure
over minicnn's - above 1 minicnn needs less - round by round: the median and, in brackets, the quartiles.
"""


def markdown(machine: dict[str, Any], settings: Settings, rows: Iterable[Row]) -> str:
    """The whole report."""
    rows = list(rows)
    tables = [_part(part, [row for row in rows if row.part == part]) for part in PARTS]
    return "\n".join([HEAD, _machine(machine, settings), *filter(None, tables)])


def _machine(machine: dict[str, Any], settings: Settings) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    caches = ", ".join(f"{name} {size}" for name, size in (machine["caches"] or {}).items())
    held = "".join(f", {name}={value}" for name, value in machine["held_by"].items())
    lines = [
        f"- {machine['processor']}, {machine['cores']} cores{', ' + caches if caches else ''}; {machine['system']}",
        f"- {settings.threads} {'thread' if settings.threads == 1 else 'threads'} on either side; "
        f"minicnn's vectors: {machine['vector_level']}{held}",
        f"- {versions}{', commit ' + machine['commit'] if machine['commit'] else ''}",
        f"- {machine['date']}",
    ]
    return "\n".join(lines) + "\n"


def _part(part: str, rows: list[Row]) -> str:
    """The table of a part; nothing if it has no rows."""
    if not rows:
        return ""
    columns = ["", "batch", "device", "minicnn", "peer", "", "peer / minicnn", "note"]
    if part == "scaling":
        columns.insert(4, "per multiply-add")
    lines = [f"## {PARTS[part]}", "", _line(columns), _line(["---"] * len(columns))]
    return "\n".join([*lines, *(_line(cells(row)) for row in rows)]) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def cells(row: Row) -> list[str]:
    """The texts of a row, column by column."""
    found = row.measured
    amount = amount_written(found.ours, found.unit) if found.status == RUN else found.status
    texts = [row.work, str(row.batch or ""), row.device, amount, PEERS.get(row.peer, ""),
             amount_written(found.theirs, found.unit), ratio_written(row), note(row)]
    if row.part == "scaling":
        each = cost(found.ours, found)
        texts.insert(4, "" if each is None else f"{each:.1f} ps")
    return texts


def cost(milliseconds: float | None, found: Measured) -> float | None:
    """Picoseconds per multiply-add, if both are known."""
    return milliseconds / found.multiply_adds * 1e9 if milliseconds is not None and found.multiply_adds else None


def amount_written(amount: float | None, unit: str) -> str:
    """Three digits and the unit."""
    if amount is None:
        return ""
    return f"{amount:.0f} {unit}" if amount >= 100 else f"{amount:.3g} {unit}"


def ratio_written(row: Row) -> str:
    """1.54 (1.40 - 1.66)"""
    found = row.measured
    if found.ratio is None:
        return ""
    spread = f" ({found.low:.2f} - {found.high:.2f})" if found.low is not None else ""
    return f"**{found.ratio:.2f}**{spread}"


def note(row: Row) -> str:
    """How the peer was set, and how many rounds count; or why there is nothing."""
    found = row.measured
    rounds = f"{found.clean} clean of {found.rounds} rounds" if found.rounds else ""
    if found.rounds and found.clean < FEWEST:
        rounds += ", so all of them count"
    return "; ".join(filter(None, (found.note, rounds)))
