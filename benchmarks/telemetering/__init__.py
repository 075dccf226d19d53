"""What ``benchmarks.telemetry`` measures: instruments, spans, pages of series, and what a loop feels.

Nothing here knows how it is reported; ``benchmarks.telemetry`` does. ``costs`` says what a row of CPU time is
and measures it, ``instruments``, ``spans``, ``headers`` and ``pages`` make such rows; ``delays`` measures an
event loop under what ``loads`` puts on it.
``receiver`` and ``scraper`` are the other ends, in processes of their own.
"""
