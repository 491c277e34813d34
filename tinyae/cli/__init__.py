"""The command line: each command is a function whose signature and docstring define its arguments and help.

`arguments` builds the parsers, `options` has the options that commands share, and `main` turns errors into one sentence and
an exit code.
"""
