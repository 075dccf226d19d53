"""What may be shown of other people's data, in a log line, a span or anywhere else: nothing, unless declared.

``withholding`` replaces values by their type and length, ``masking`` finds secrets in texts, ``sql`` the
values in statements, ``failures`` says what an exception is without what it says.
"""
