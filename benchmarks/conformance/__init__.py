"""The traps of circuit breaking as executable cases, one definition for every library.

``cases`` lists them, ``subject`` is what a case may do with a library, ``seawall_subject`` and ``rivals``
are the adapters. ``benchmarks.semantics`` prints the whole matrix; ``tests/conformance`` runs the same
cases against Seawall alone, where no rival has to be installed.
"""
