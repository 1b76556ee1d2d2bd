"""One self-contained HTML page about a run.

Nothing on the page is fetched from anywhere: a policy in its head forbids it, and lets no script
run but those that are part of it, whatever a label or a name may contain.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from metamae.pages import shown
from metamae.pages.form import Seen
from metamae.pages.layout import Colour, Layout
from metamae.pages.numbers import Assessed, Fact, Line, assessed, draw_training, health_of

EXTREMES = 8
"""Most and least typical samples that are shown, each."""
TONES = {"helped": "good", "hurt": "bad"}
TOLD = ("held_out_r2", "held_out_accuracy", "held_out_target_r2", "effective_rank")
"""What is said of a run that has not been judged."""


@dataclass(frozen=True)
class Points:
    """Samples on a map.

    Attributes:
        layout: Where they lie, (S, 2), and who is near whom.
        names: What their source calls them, S.
        colours: Fields to colour them by, the one to begin with first.
        views: Position -> the sample as HTML (`thumb.draw`), for as many as a page can carry.
        note: Which samples these are, in one sentence.
    """

    layout: Layout
    names: Sequence[str]
    colours: Sequence[Colour]
    views: Mapping[int, Markup]
    note: str


@dataclass(frozen=True)
class Material:
    """All that a page is made of.

    Attributes:
        title: Name of the run.
        summary: What the data are, in a few words.
        facts: More about data and schema: name -> value.
        notes: What was assumed about the data.
        results: Entries of results.json.
        metrics: Lines of metrics.jsonl.
        settings: config.toml as text.
        versions: Library -> version.
        width: Numbers of an embedding.
        state: How far the training came, in one sentence.
        seen: Name of each sample shown in part, and its parts.
        seen_note: Which samples these are, in one sentence.
        points: Samples on the map; None if there are none.
        missing: Why there are no samples on the page; empty if there are.
    """

    title: str
    summary: str
    facts: Mapping[str, str]
    notes: Sequence[str]
    results: Sequence[Line]
    metrics: Sequence[Line]
    settings: str
    versions: Mapping[str, str]
    width: int
    state: str
    seen: Sequence[tuple[str, Sequence[Seen]]] = ()
    seen_note: str = ""
    points: Points | None = None
    missing: str = ""
    fields: Sequence[Mapping[str, str]] = field(default_factory=list)


def write_page(material: Material) -> str:
    """Return the page of a run."""
    found = [assessed(entry) for entry in reversed(material.results)]
    health = health_of(material.metrics, material.width)
    sentence, tone = verdict_of(found, health)
    points = material.points
    return render(
        "run.html",
        {
            "run": material,
            "sentence": sentence,
            "tone": tone,
            "assessed": found,
            "health": health,
            "training": [shown.show_chart(chart) for chart in draw_training(material.metrics)],
            "seen": [[shown.draw(part, name) for part in parts] for name, parts in material.seen],
            "seen_kind": _kind(material),
            "show_chart": shown.show_chart,
            "map": None if points is None else points,
            "payload": None if points is None else to_json(_payload(points)),
            "extremes": [] if points is None else _extremes(points),
        },
    )


def verdict_of(found: Sequence[Assessed], health: Sequence[Fact]) -> tuple[str, str]:
    """Say in one sentence whether the run was worth it, and how that sounds: a CSS class."""
    if found:
        return found[0].sentence, TONES.get(found[0].outcome, "open")
    told = ", ".join(f"{fact.name} {fact.value}" for fact in health if fact.key in TOLD)
    without = f"; without labels: {told}" if told else ""
    return f"No label has been judged yet, which metamae evaluate does{without}.", "open"


def render(
    template: str, values: Mapping[str, Any], scripts: Sequence[str] = ("d3.min.js", "page.js")
) -> str:
    """Fill a template of this folder with values; all text is escaped.

    Args:
        template: Its name.
        values: What it shows.
        scripts: Names of those that the page runs.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    texts = [asset(name) for name in scripts]
    own = {
        "style": Markup(asset("style.css")),
        "scripts": [Markup(text) for text in texts],
        "policy": _policy(texts),
        "licence": asset("d3.LICENSE") if scripts else "",
    }
    return environment.get_template(template).render({**own, **values})


@cache
def asset(name: str) -> str:
    """Return a text that comes with the package."""
    return (files("metamae.pages") / "assets" / name).read_text(encoding="utf-8")


def to_json(value: Any) -> Markup:
    """Write JSON that may stand inside a script element: nothing in it ends that or opens one."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # All that a parser of HTML looks for there; escaping every sign would make a page a third
    # larger. A bracket stands within a string, where JSON knows it by number as well.
    return Markup(re.sub(r"<(?=[/!]|script)", r"\\u003c", text, flags=re.IGNORECASE))


def _policy(scripts: Sequence[str]) -> str:
    """Let nothing be fetched, and no script run but these."""
    digests = (hashlib.sha256(text.encode("utf-8")).digest() for text in scripts)
    hashes = [f"'sha256-{base64.b64encode(d).decode('ascii')}'" for d in digests]
    known = " ".join(hashes) or "'none'"
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {known}"


def _kind(material: Material) -> str:
    """What the reconstructed samples are, if all are of one kind: they can stand in columns."""
    kinds = {part.form.kind for _, parts in material.seen for part in parts}
    return kinds.pop() if len(kinds) == 1 else "several"


def _payload(points: Points) -> dict[str, Any]:
    """Return what the script of the map needs."""
    layout = points.layout
    return {
        "places": _packed(_quantised(layout.places), "<u2"),
        "near": _packed(layout.near, "<u4"),
        "likeness": _packed((layout.likeness.clip(0, 1) * 255).round(), "<u1"),
        "k": layout.near.shape[1],
        "names": list(points.names),
        "colours": [_colour(colour) for colour in points.colours],
        "views": [points.views.get(at) for at in range(len(points.names))],
    }


def _colour(colour: Colour) -> dict[str, Any]:
    plain = {"name": colour.name, "given": colour.given}
    if colour.categories:
        codes = _packed(colour.codes, "<u1")
        return {**plain, "categories": colour.categories, "codes": codes}
    return {**plain, "numbers": _packed(colour.numbers, "<f4")}


def _quantised(places: NDArray[np.float32]) -> NDArray[Any]:
    """Places as whole numbers from 0 to 65,535, with one scale for both axes and y downwards."""
    low, high = places.min(axis=0), places.max(axis=0)
    size = float((high - low).max()) or 1.0
    unit = (places - (low + high) / 2) / size + 0.5
    unit[:, 1] = 1 - unit[:, 1]
    whole: NDArray[Any] = (unit * 65535).round().clip(0, 65535)
    return whole


def _packed(values: NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values.astype(kind)).tobytes()).decode("ascii")


def _extremes(points: Points) -> list[dict[str, Any]]:
    """The samples with the most and the least crowded places, of those that can be shown."""
    positions = np.array(sorted(points.views), dtype=np.int64)
    typical = points.layout.typicality[positions]
    order = positions[np.argsort(-typical, kind="stable")]
    few = min(EXTREMES, len(order) // 2)
    groups = {"Most typical": order[:few], "Least typical": order[::-1][:few]}
    return [
        {
            "title": title,
            "samples": [
                {
                    "position": int(at),
                    "name": points.names[at],
                    "likeness": f"{points.layout.typicality[at]:.2f}",
                    "view": points.views[int(at)],
                }
                for at in chosen
            ],
        }
        for title, chosen in groups.items()
    ]
