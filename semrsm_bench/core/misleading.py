"""The warning of figures that are what was asked for and are easily taken for more."""

from __future__ import annotations


class MisleadingWarning(UserWarning):
    """A figure is computed as asked, but says less than it seems to; the text tells why, and what to do instead."""
