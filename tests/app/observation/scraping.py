"""Pages of metrics, as whoever scrapes reads them."""

from seawall.telemetry.exposition import Format, Writer


def page_of(source):
    """The page of a registry or a collector."""
    return Writer(source).write(Format.TEXT).decode()


def samples(page):
    """Values by name and labels as written."""
    found = {}
    for line in page.splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.rpartition(" ")
            assert key not in found, key
            found[key] = float(value)
    return found


def total(found, name, *labels):
    """The sum of all series of a name that have these labels."""
    return sum(
        value
        for key, value in found.items()
        if key.partition("{")[0] == name and all(label in key for label in labels)
    )
