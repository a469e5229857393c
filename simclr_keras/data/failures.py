"""Other libraries' errors as one line, for the messages of an InputError."""


def one_line(error, width=300):
    """The text of an exception on one line, cut to `width` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= width else text[: width - 3] + "..."
