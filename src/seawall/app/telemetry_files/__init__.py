"""Files for other programs, made from the metric catalogue: alert rules with their tests, and dashboards.

Pure: a naming in, texts out. ``seawall telemetry`` writes them; those under ``deploy/`` are what it writes
for the default namespace. Whatever names a metric goes through ``naming``, which knows the rows and what
their samples are called, so a rule or a panel can't name what isn't there.

Reading order: ``naming``, ``yaml_text``, ``alerts``, ``proxy_alerts``, ``telemetry_alerts``,
``breaker_alerts``, ``rule_files``, ``panels``, ``dashboards``, ``estimate``.
"""

from seawall.app.telemetry_files.dashboards import dashboard_files
from seawall.app.telemetry_files.naming import Naming
from seawall.app.telemetry_files.rule_files import rule_files

__all__ = ["Naming", "dashboard_files", "rule_files"]
