"""The top of the report: may it ship, why, and the few figures that say so; then every gate."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element

from filterkit.manifest import Gate
from filterkit.metrics.records import Interval
from filterkit.report.contents import Contents
from filterkit.report.elements import clip, el
from filterkit.report.figures import PERCENT, apart, between, counted, digits_of, number, share, short
from filterkit.report.section import Section
from filterkit.report.tables import Cell, Head, spanning, strip, table
from filterkit.spec import UPPER_LIMITS

_NAMES = {
    "mae": "Mean absolute error",
    "median_gain": "Better than the constant median",
    "spearman": "Rank correlation",
    "top_recall": "Best-tier recall",
    "coverage": "Interval coverage",
    "f1": "F1 at the threshold",
    "unknown_labels": "Labels missing",
    "all_scored": "Articles not scored",
    "dimensions_in_place": "Dimensions exchanged",
    "as_its_recipe": "Worse than its recipe",
}
_WRONG = {
    "mae": ("its error is too large", "its error may be too large"),
    "median_gain": (
        "it is hardly better than always answering the median",
        "it may be hardly better than always answering the median",
    ),
    "spearman": ("it does not put articles in the right order", "it may not put articles in the right order"),
    "top_recall": ("it misses too many of the best articles", "it may miss too many of the best articles"),
    "coverage": (
        "its intervals hold too few of the oracle's scores",
        "its intervals may hold too few of the oracle's scores",
    ),
    "f1": ("it decides too poorly at the threshold", "it may decide too poorly at the threshold"),
}
_COUNTS = {
    "unknown_labels": "too many labels are missing",
    "all_scored": "the student could not score every article",
    "dimensions_in_place": "dimensions seem to be exchanged",
    "as_its_recipe": "the student itself came out worse than its recipe",
}
"""Gates of what is counted, which have no interval: at most the limit is asked for."""
_MOST_NOTES = 12


def gate_name(name: str) -> str:
    """A gate in plain words."""
    return _NAMES.get(name, name.replace("_", " ").capitalize())


def headline(contents: Contents) -> str:
    """The verdict in a few words."""
    record = contents.manifest.gates
    if record is None:
        return "Not judged"
    return "May ship" if record.passed else "Must not ship"


def top(contents: Contents) -> Element:
    """The verdict, its reason, four figures and what a reader must know."""
    record = contents.manifest.gates
    state = "open" if record is None else "pass" if record.passed else "fail"
    spec = contents.spec
    asked = {gate.name: gate for gate in record.gates} if record else {}
    digits = digits_of(spec.scale)
    return el(
        "section",
        el("h1", _sign(state), headline(contents), id="verdict-title"),
        el("p", _reason(contents), class_="reason"),
        _warnings(contents),
        el("dl", [_figure(key, asked.get(key.gate), digits) for key in _figures(contents)], class_="key"),
        el("p", _held_against(contents), class_="against"),
        class_=f"verdict {state}",
        id="verdict",
        aria_labelledby="verdict-title",
    )


def _sign(state: str) -> Element:
    shapes = {"pass": "M9 17l5 5 10-11", "fail": "M10.5 10.5l11 11M21.5 10.5l-11 11", "open": "M10 16h12"}
    mark = el("path", d=shapes[state])
    return el("svg", el("circle", cx=16, cy=16, r=15), mark, viewBox="0 0 32 32", class_="sign", aria_hidden="true")


def _reason(contents: Contents) -> str:
    record = contents.manifest.gates
    if record is None:
        return "No gate has been put to this student, so nothing says that it may ship."
    failed = [gate for gate in record.gates if not gate.passed]
    asked = len(record.gates)
    if not record.gates:
        return "The filter asks for no gate that could be judged here, so nothing says that it may ship."
    if not failed:
        which = "The one gate was passed" if asked == 1 else f"All {asked} gates were passed"
        return f"{which}: even the worse end of each 95{PERCENT} interval is within its limit."
    told = [_wrong(gate) for gate in failed]
    joined = told[0] if len(told) == 1 else f"{'; '.join(told[:-1])}; and {told[-1]}"
    return f"{len(failed)} of {counted(asked, 'gate')} failed: {joined}."


def _wrong(gate: Gate) -> str:
    name = gate_name(gate.name)
    name = name if name.startswith("F1") else name.lower()
    if gate.value is None:
        return f"{name} could not be measured ({clip(gate.why, 160)})"
    figure = number(gate.value, apart(gate.value, gate.limit))
    if gate.name in _COUNTS:
        return f"{_COUNTS[gate.name]} ({clip(gate.why, 160)})"
    if gate.bound is None:
        return f"{name} is {figure}, which proves nothing ({clip(gate.why, 160)})"
    surely, maybe = _WRONG.get(gate.name, (f"{name} is not good enough", f"{name} may not be good enough"))
    itself_fails = gate.value >= gate.limit if gate.name in UPPER_LIMITS else gate.value < gate.limit
    end = f", at worst {number(gate.bound, apart(gate.bound, gate.limit))}" if gate.bound != gate.value else ""
    return f"{surely if itself_fails else maybe} ({figure}{end}; {asked_for(gate)})"


def asked_for(gate: Gate, *, percent: bool = False) -> str:
    """What a gate asks for, as "at least 0.3"."""
    if gate.name in _COUNTS and gate.limit == 0:
        return "none"
    words = "at most" if gate.name in _COUNTS else "below" if gate.name in UPPER_LIMITS else "at least"
    return f"{words} {f'{short(100 * gate.limit)}{PERCENT}' if percent else short(gate.limit)}"


def _warnings(contents: Contents) -> Element | None:
    metrics, forced = contents.metrics, contents.manifest.forced
    lines: list[tuple[str, str]] = []
    if forced is not None:
        said = f" The gates said: {clip(forced.gates, 400)}" if forced.gates else ""
        lines.append(("Shipped by force", f"on {forced.at:%Y-%m-%d}, “{clip(forced.reason, 400)}”.{said}"))
    lines += [("Note", clip(note, 600)) for note in contents.notes[:_MOST_NOTES]]
    if metrics.small:
        lines.append(("Small test set", clip(metrics.small, 600)))
    lines += [
        (
            "Mixed up?",
            f"{one.dimension} and {one.other} fit each other's labels better than their own (exchanged, the "
            f"error falls by {number(one.gain)}; {number(one.z, 1)} standard errors).",
        )
        for one in metrics.mixed_up[:3]
    ]
    if metrics.failed:
        lines.append(("No answer", f"for {metrics.failed:,} of {counted(metrics.n)}."))
    if metrics.unknown:
        lines.append(("Labels missing", f"{metrics.unknown:,} scores that the oracle did not give were left out."))
    if not lines:
        return None
    return el("ul", [el("li", el("b", title), " ", text) for title, text in lines], class_="warnings")


@dataclass(frozen=True)
class _Key:
    """One of the figures at the top."""

    title: str
    value: float | None
    interval: Interval | None
    missing: str | None
    beside: str
    gate: str
    percent: bool = False
    least: float = 0.0
    most: float | None = 1.0
    reach: tuple[float | None, ...] = ()


def _figures(contents: Contents) -> list[_Key]:
    metrics, digits = contents.metrics, digits_of(contents.spec.scale)
    median = metrics.median_mae
    found = [
        _Key(
            "Mean absolute error",
            metrics.mae,
            metrics.intervals.get("mae"),
            metrics.undefined.get("mae"),
            f"always answering the median: {number(median, digits)}",
            "mae",
            most=None,
            reach=(median,),
        ),
        _Key(
            "Rank correlation",
            metrics.spearman,
            metrics.intervals.get("spearman"),
            metrics.undefined.get("spearman"),
            "1 is the oracle's order, 0 is chance",
            "spearman",
            least=-1.0 if (metrics.spearman or 0) < 0 else 0.0,
        ),
    ]
    if metrics.tiers is not None and metrics.tiers.names:
        best, tiers = metrics.tiers.names[0], metrics.tiers
        found.append(
            _Key(
                "Best-tier recall",
                tiers.recall.get(best),
                tiers.intervals.get(f"recall:{best}"),
                tiers.undefined.get(f"recall:{best}"),
                f"of the oracle’s “{clip(best, 40)}” articles, found",
                "top_recall",
                percent=True,
            )
        )
    elif metrics.at_threshold is not None:
        at = metrics.at_threshold
        found.append(
            _Key(
                "F1 at the threshold",
                at.f1,
                at.intervals.get("f1"),
                at.undefined.get("f1"),
                f"yes is an overall of {short(at.threshold)} or more",
                "f1",
            )
        )
    cover = metrics.coverage
    found.append(
        _Key(
            "Interval coverage",
            cover.mean if cover else None,
            cover.intervals.get("mean") if cover else None,
            cover.undefined.get("mean") if cover else "the student gives no intervals",
            f"{share(cover.nominal)} is promised" if cover else "",
            "coverage",
            percent=True,
        )
    )
    return found


def _figure(key: _Key, gate: Gate | None, digits: int) -> Element:
    interval = between(key.interval, digits, percent=key.percent)
    told = share(key.value) if key.percent else number(key.value, digits)
    limit = gate.limit if gate else None
    asked = f"must be {asked_for(gate, percent=key.percent)}" if gate else None
    if gate and not gate.passed and gate.bound not in (None, gate.value):
        bound = share(gate.bound) if key.percent else number(gate.bound, digits)
        asked = f"at worst {bound}; {asked}"
    gauge: Element | None = None
    if key.value is not None:
        ends = (key.interval.low, key.interval.high) if key.interval else ()
        across = spanning((key.value, limit, *ends, *key.reach), least=key.least, most=key.most)
        title = ", ".join(filter(None, [f"{key.title} {told}", interval and f"between {interval}", asked]))
        gauge = strip(across, title, key.value, key.interval, line=limit)
    return el(
        "div",
        el("dt", key.title),
        el("dd", told, class_="value"),
        el("dd", interval or (clip(key.missing, 160) if key.missing else "no interval"), class_="interval"),
        el("dd", gauge, _answer(gate, f" {asked}") if gate else None, class_="gauge"),
        el("dd", key.beside, class_="beside"),
    )


def _answer(gate: Gate, words: str) -> Element:
    """Whether a gate was passed, by a sign and a colour, before `words`."""
    state, sign = ("pass", "✓") if gate.passed else ("fail", "✕")
    return el("span", sign, words, class_=state)


def _held_against(contents: Contents) -> str:
    metrics, record = contents.metrics, contents.manifest.gates
    oracles = ", ".join(contents.manifest.data.oracles[:3])
    many = counted(metrics.n)
    method = f" ({clip(record.method, 120)})" if record else ""
    by = f" by {clip(oracles, 120)}" if oracles else " by the oracle"
    judgement = contents.manifest.data.judgement
    made = f" The labels are {clip(judgement.words, 300)}." if judgement else ""
    small = f" Ranges are 95{PERCENT} confidence intervals." if metrics.intervals else ""
    return f"Held against {many} labelled{by}{method}.{made}{small}"


def gates(contents: Contents) -> Section | None:
    """Every gate with the figure, the end of its interval that was compared, and the limit."""
    record = contents.manifest.gates
    if record is None:
        return None
    rows = [_gate_row(gate) for gate in record.gates]
    heads = [
        Head("Gate", "name"),
        Head("Answer", "name"),
        Head("Figure"),
        Head("Compared"),
        Head("Asked for"),
        Head("What it is", "text"),
    ]
    left_out = [
        el("li", el("b", gate_name(name)), f" was left out: {clip(why, 300)}") for name, why in record.left_out.items()
    ]
    return Section(
        "gates",
        "Gates",
        "What the filter asks of a student before it ships. Compared is the worse end of the figure's confidence "
        "interval, not the figure itself.",
        (
            table("Gates", heads, rows) if rows else el("p", "No gate was judged."),
            el("ul", left_out, class_="notes") if left_out else None,
        ),
    )


def _gate_row(gate: Gate) -> list[Cell]:
    whole = gate.name in _COUNTS and gate.value is not None and gate.value == int(gate.value)
    return [
        gate_name(gate.name),
        _answer(gate, " passed" if gate.passed else " failed"),
        number(gate.value, 0 if whole else apart(gate.value, gate.limit)),
        number(gate.bound, apart(gate.bound, gate.limit)),
        asked_for(gate),
        clip(gate.why, 400),
    ]
