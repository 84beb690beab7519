"""Name the tables of visual analysis and their columns, in order: a record keeps no order of names."""

COLUMNS = {
    "level": ("phase", "mean", "median"),
    "trend": ("phase", "slope a day", "share of days within 25 % of it"),
    "variability": (
        "phase", "sd", "lowest", "highest", "envelope from", "envelope to", "share of days within it", "stable"
    ),
    "immediacy": ("phases", "nearest three days", "all days"),
    "overlap": ("phases", "NAP", "PND"),
    "consistency": ("phases", "level", "level in sd", "slope", "sd"),
    "projection of the baseline": (
        "phases", "mean of treatment less projection", "share of treatment days better than it"
    ),
}  # fmt: skip
