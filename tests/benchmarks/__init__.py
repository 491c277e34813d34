"""Timings. They print tables and assert nothing: a time is a property of a machine, not of the code alone."""
