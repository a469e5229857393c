"""Numbers and durations as a person reads them, for messages and pictures."""


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: "1 class", "3 classes", "1,200 images"."""
    plural = noun + ("es" if noun.endswith(("s", "tch")) else "s")
    return f"{count:,} {noun if count == 1 else plural}"


def millions(count: int) -> str:
    """Return a number of parameters in short: "23.6 M", "715 k"."""
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.0f} k"


def duration(seconds: float) -> str:
    """Return a duration in short: "48 s", "2 min 3 s", "5 h 40 min"."""
    minutes, seconds = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
