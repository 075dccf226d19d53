"""What ``benchmarks.proxy`` and the foreign suites are made of: a server, proxies before it, load, probes.

Nothing here knows a figure or a target; ``benchmarks.proxy`` judges. ``endpoints`` is the only module that
knows how each proxy is configured and started.
"""
