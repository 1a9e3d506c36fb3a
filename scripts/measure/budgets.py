"""Most that may be counted: `scripts/bench budgets` ends with 1 if a count exceeds its budget. Times have none."""

from counts import exchanges, rows_up
from store_counts import status

MEASURES = [exchanges, rows_up, status]

# By the key of a figure: the most, in the figure's unit. A ratio is that of the figure to its floor.
MOST = {
    "poll": 450_000,  # instructions
    "upload": 270_000,
    "row": 3_000,
    "status": 2_000_000,
}
MOST_RATIO = {
    "status-large": 1.1,
}


def exceeded(figures):
    """Each figure that exceeds a budget, with its most."""
    over = [(figure, MOST[figure.key]) for figure in figures if figure.key in MOST and figure.values and figure.median() > MOST[figure.key]]
    for figure in figures:
        if figure.key in MOST_RATIO and figure.values and figure.ratio() > MOST_RATIO[figure.key]:
            over.append((figure, MOST_RATIO[figure.key] * figure.floors[0]))
    return over
