"""The command line: one file per command, each with `register(subparsers)` and a function that does the
work; `options` has what they share.

A command returns normally or raises; `main` turns what it raises into one clear sentence and an exit code.
"""
