from datetime import datetime, tzinfo

def plain(text: str) -> bool: ...
def mark(
    created: datetime,
    now: datetime,
    zone: tzinfo,
    units: tuple[tuple[str, int], ...],
    weekdays: tuple[str, ...],
    months: tuple[str, ...],
) -> str: ...
