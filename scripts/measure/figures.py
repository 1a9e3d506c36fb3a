"""Figures of `scripts/bench`, each beside its floor of the same run: the table that is printed, and the same as JSON."""

import dataclasses
import json
import statistics
import sys

COLUMNS = ["figure", "floor", "measured", "ratio", "goal", "remarks"]


@dataclasses.dataclass
class Figure:
    """What was measured in each round, and the floor of the same round. Without values the remark says why."""

    name: str
    unit: str = ""
    values: list = dataclasses.field(default_factory=list)
    floors: list = dataclasses.field(default_factory=list)
    floor_name: str = ""
    goal: str = ""
    remark: str = ""
    key: str = ""  # by which `budgets.py` names it
    against: "Figure" = None  # the same of a second program

    def row(self):
        ratio = self.ratio()
        return [
            self.name,
            f"{number(statistics.median(self.floors), self.unit)}: {self.floor_name}" if self.floors else self.floor_name or "–",
            number(self.median(), self.unit) if self.values else "–",
            f"{ratio:.2f}" if ratio else "–",
            self.goal,
            self.remark,
        ]

    def median(self):
        return statistics.median(self.values) if self.values else None

    def ratio(self):
        """The median of the rounds' ratios."""
        pairs = [value / floor for value, floor in zip(self.values, self.floors) if floor]
        return statistics.median(pairs) if pairs else None

    def record(self):
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "against"}
        medians = {"median": self.median(), "floor_median": statistics.median(self.floors) if self.floors else None, "ratio": self.ratio()}
        return fields | medians | ({"against": self.against.record()} if self.against else {})


def once(measure):
    """Marks a measure whose figures are counted: one round is enough."""
    measure.once = True
    return measure


def merge(figures, one_round):
    """Adds the values of one more round to the figures so far."""
    if not figures:
        figures += one_round
        return
    for figure, more in zip(figures, one_round):
        figure.values += more.values
        figure.floors += more.floors
        figure.remark = more.remark


def number(value, unit=""):
    """With three digits or more."""
    if unit == "B":
        value, unit = (value / 1000, "kB") if value >= 10_000 else (value, "B")
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f} {unit}".replace(",", " ").strip()
    return f"{value:.3g} {unit}".strip()


def table(figures):
    """The figures as a table in Markdown. What a second program gave has two columns of its own."""
    compared = any(figure.against for figure in figures)
    rows = [COLUMNS + (["against", "its ratio"] if compared else [])]
    for figure in figures:
        other = figure.against.row()[2:4] if figure.against else ["–", "–"]
        rows.append(figure.row() + (other if compared else []))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def write(path, about, figures):
    """Everything as JSON; `-` is standard output."""
    text = json.dumps({"about": about, "figures": [figure.record() for figure in figures]}, indent=1, ensure_ascii=False) + "\n"
    if path == "-":
        sys.stdout.write(text)
    else:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
