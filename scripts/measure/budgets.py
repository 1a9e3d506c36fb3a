"""Most that may be counted: `scripts/bench budgets` ends with 1 if a count exceeds its budget. Times have none."""

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


def exceeded(figures, whole):
    """A line for each figure that exceeds a budget; if the `whole` was to be counted, also for each that was not."""
    lines, counted = [], {figure.key: figure for figure in figures if figure.values}
    for budgets, value, unit in (MOST, lambda figure: figure.median(), ""), (MOST_RATIO, lambda figure: figure.ratio(), " ×"):
        for key, most in budgets.items():
            if key not in counted:
                lines += [f"{key} was not counted"] if whole else []
            elif value(counted[key]) > most:
                lines.append(
                    f"{counted[key].name}: {number(value(counted[key]))}{unit}, the budget is {number(most)}{unit} "
                    f"({key} in scripts/measure/budgets.py): find the cause with --against a program from before; raise a budget only with the reason"
                )
    return lines
