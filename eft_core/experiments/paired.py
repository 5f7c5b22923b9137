"""Arms against one of them, on the same prompts: paired differences with their intervals."""

from typing import Any

from eft_core.experiments.study import Graded, Row, told
from eft_core.intervals import difference


def paired(graded: Graded, reference: int, label: str, **labels: Any) -> list[Row]:
    """Every arm with these labels minus the reference, in every column; `label` names the arms."""
    rows = []
    for number, arm in enumerate(graded.arms):
        if number == reference or any(arm.labels[name] != value for name, value in labels.items()):
            continue
        row: Row = {label: arm.labels[label]}
        for column in graded.columns:
            row |= told(column.name, difference(graded.of(number, column), graded.of(reference, column)))
        rows.append(row)
    return rows
