"""Conformance suites that an outside package can run on its own formats, and what they need."""
