"""Parts of the Markdown reports."""

import textwrap


def paragraph(*sentences: str) -> str:
    """Join sentences to a paragraph with lines of at most 130 characters."""
    return textwrap.fill(" ".join(sentences), 130, break_long_words=False, break_on_hyphens=False)


def row_of(*cells: object) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(map(str, cells))} |"
