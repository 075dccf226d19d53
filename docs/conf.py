"""Sphinx configuration. `make docs` builds with every warning fatal."""

import inspect
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent / "src")]

from sphinx.application import Sphinx  # noqa: E402  (so is the third-party part)

from seawall import __version__  # noqa: E402  (the path has to be set first)

project = "Seawall"
author = "The Seawall maintainers"
project_copyright = "The Seawall maintainers, Apache-2.0"
release = version = __version__

extensions = [
    "seawall_tables",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build", "_ext"]
source_suffix = {".md": "markdown"}

smartquotes = False  # the pages name values as they are typed

html_theme = "furo"
html_title = f"Seawall {version}"
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5c7a", "color-brand-content": "#0b5c7a"},
    "dark_css_variables": {"color-brand-primary": "#5cc2e6", "color-brand-content": "#5cc2e6"},
}

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

# The public names of each package, in the order of their source; attributes are told in the class docstring.
autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True


def described_elsewhere(app: Sphinx, _what: str, _name: str, value: object, *_: object) -> bool | None:
    """Leave to the kernel's own pages what the front door only passes on: one name, one description."""
    if app.env.docname != "reference/api/seawall":
        return None
    of_the_kernel = str(getattr(value, "__module__", "")).startswith("seawall.kernel")
    return True if of_the_kernel or inspect.ismodule(value) else None


def setup(app: Sphinx) -> None:
    """Register the rule above."""
    app.connect("autodoc-skip-member", described_elsewhere)
