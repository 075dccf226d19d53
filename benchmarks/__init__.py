"""Benchmarks: figures that anyone can measure again, beside the rivals, in the same run.

Not imported by the library and not run by continuous integration; each module is a command,
``python -m benchmarks.NAME [--quick] [--json]``, and all of them share ``benchmarks.harness``.
"""
