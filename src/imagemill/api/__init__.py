"""The verbs, as Python functions with the names they have on the command line: one module a verb.

Everything here parses what a person gives, composes the stages, and returns a result; the
work is done below.
"""
