"""Other libraries' errors as one line, for the messages of an InputError."""


def one_line(error, width=300):
    """The text of an exception, or of a file's name, on one line, cut to `width` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = text.encode(errors="backslashreplace").decode()  # names of files may be no UTF-8
    return text if len(text) <= width else text[: width - 3] + "..."
