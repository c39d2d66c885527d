"""What a saved notebook shows where no widget can run: HTML and a line of text."""


def with_fallback(bundle, html, text):
    """A widget's MIME bundle with text/html and text/plain beside its live view."""
    data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
    return {**data, "text/html": html, "text/plain": text}, metadata
