"""Signs that stand in a page's text between the cleaning of its source and the last look at its lines."""

LINK_START, LINK_END = "\x01", "\x02"
"""Stand around every link."""
HEADING = "\x03"
"""Stands at the start of every heading."""
