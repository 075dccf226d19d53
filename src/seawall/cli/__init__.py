"""The command line: ``seawall``, one file per verb.

It is a user of the library like any other, and the only part that knows terminals. Nothing imports it but the
``seawall`` program; ``main`` loads a verb's file when that verb is called.
"""
