"""Most that may be counted: `scripts/bench budgets` and `scripts/bench limits` end with 1 if a count exceeds its budget. Times have none."""

from calls import flash, system_calls
from counts import exchanges, rows_up
from figures import number
from store_counts import status

MEASURES = [exchanges, rows_up, status, system_calls, flash]

# By the key of a figure: the most, in the figure's unit. Instructions are those of x86-64. A little above what was reached; where that is not the
# goal (a row: 3 000), docs/measurements.md says why.
MOST = {
    "poll": 340_000,  # instructions
    "poll-bytes": 130,  # of its request
    "poll-calls": 14,  # system calls
    "poll-commits": 0,
    "upload": 270_000,  # instructions
    "upload-requests": 12,
    "upload-calls": 15,
    "upload-commits": 2,
    "row": 6_600,  # instructions
    "status": 1_800_000,
    "flash-1": 5_600,  # bytes
    "flash-10": 760,
}
# The same for a figure divided by its floor, which is a count, too.
MOST_RATIO = {
    "status-large": 1.1,
    "upload-limited": 1.1,
}
# Of what is as large as a terminal gets (`limits`). Memory is that above the same work with few rows: rows that were kept in memory, even only their
# numbers, would take several times that.
MOST_OF_MANY = {
    "pending-faults": 0,
    "pending-left": 0,
    "pending-memory": 1024,  # kB
    "pending-bytes": 64,  # what src/store/capacity.rs takes a punch for
    "people-refused": 0,
    "people-loaded": 0,
    "people-queried": 0,
    "people-memory": 1024,  # kB
    "people-restart-memory": 1024,
}
# By the group; the others have none.
OF_GROUP = {"budgets": (MOST, MOST_RATIO), "limits": (MOST_OF_MANY, {})}


def exceeded(figures, group, whole):
    """A line for each figure that exceeds a budget of the group; if the `whole` was to be counted, also for each that was not."""
    lines, counted = [], {figure.key: figure for figure in figures if figure.values}
    most, most_ratio = OF_GROUP.get(group, ({}, {}))
    for budgets, value, unit in (most, lambda figure: figure.median(), ""), (most_ratio, lambda figure: figure.ratio(), " ×"):
        for key, limit in budgets.items():
            if key not in counted:
                lines += [f"{key} was not counted"] if whole else []
            elif value(counted[key]) > limit:
                lines.append(
                    f"{counted[key].name}: {number(value(counted[key]))}{unit}, the budget is {number(limit)}{unit} "
                    f"({key} in scripts/measure/budgets.py): find the cause with --against a program from before; raise a budget only with the reason"
                )
    return lines
