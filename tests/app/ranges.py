"""Every key of the configuration with values that it takes and values that it refuses, written as TOML.

The tests prove that no key is missing here, and that each value has the fate that this table says.
"""

TRUTH = (["true", "false"], ["1", '"yes"', "[]"])
NAME = (['"a"', '"ü b"', f'"{"x" * 63}"'], ['""', f'"{"x" * 64}"', '"a\\u0000"', '"a\\nb"', "3", "[]"])
NAMES = (["[]", '["a", "b"]'], ['"a"', '[""]', "[1]", "3", f'["{"x" * 64}"]'])
COUNT = (["0", "1000000"], ["-1", "1000001", "1.0", '"1"', "true"])
COUNT_FROM_1 = (["1", "1000000"], ["0", "1000001", "1.5", '"1"', "true"])
SECRET = (['"x"', f'"{"x" * 4096}"'], ['""', f'"{"x" * 4097}"', '"a\\u0000"', "3", "[]"])
PATH = (['"/etc/secret"', '"secret"'], ['""', '"\\u0000"', f'"{"x" * 4097}"', "3"])
DAY = (["0", '"0s"', '"250ms"', '"1d"', "86400"], ["-1", '"2d"', '"5"', '"soon"', "true", "nan"])
YEAR = (["0", '"5m"', '"365d"'], ["-0.1", '"366d"', '"5"', '"1 fortnight"', "inf"])
HOUR_FROM_1MS = (['"1ms"', '"1h"', "3600", "0.001"], ["0", '"0s"', '"61m"', '"5"', "-1", "[]"])
OPEN_SPAN = (['"1ms"', '"1d"'], ["0", '"25h"', '"5"', "-1"])
MILLISECONDS = (["1", "500", "3600000", '"500ms"', '"2s"'], ["0", "3600001", '"500"', '"2h"', "true", "nan"])
PERCENT_BELOW_99 = (["5.0", "99", '"5%"', "0.1"], ["0", "99.5", "-1", '"5"', '"100%"', "true", "inf"])
PERCENT = (["0.1", "80", "100", '"80%"'], ["0", "100.1", '"80"', '"101%"', "[]"])
POOL_MODE = (['"session"', '"transaction"', '"statement"'], ['"Session"', '"sesion"', "1"])
FAILURES = (["1", "10000"], ["0", "10001", "1.5", '"3"'])
PORT = (["1", "65535"], ["0", "65536", "5432.0", '"5432"', "true"])

RANGES: dict[str, tuple[list[str], list[str]]] = {
    "proxy.listen_address": (
        ['"127.0.0.1:6432"', '"[::1]:0"', '"localhost:65535"', '["0.0.0.0:1", "[::]:1", "a:0", "a:0"]'],
        ['"127.0.0.1"', '":6432"', '"h:65536"', '"::1:5"', '"[::1:5"', '["a:1", "a:1"]', '"a b:1"', "6432"],
    ),
    "proxy.unix_directory": (['"/run/seawall"'], ['"run"', '""', f'"/{"x" * 90}"', "3"]),
    "proxy.protocol": (['"postgresql"'], ['"mysql"', "1"]),
    "proxy.workers": (["0", "128"], ["-1", "129", "1.0", '"2"', "true"]),
    "proxy.admin_database": NAME,
    "proxy.runtime_directory": (['"/run/seawall"'], ['"run"', '""', f'"/{"x" * 90}"', "3"]),
    "proxy.circuit_breaker_enabled": TRUTH,
    "auth.method": (['"scram-sha-256"', '"md5"', '"password"', '"trust"'], ['"scram"', '"none"', "1"]),
    "auth.trust_loopback": TRUTH,
    "auth.admin_users": NAMES,
    "auth.stats_users": NAMES,
    "auth.users.name": NAME,
    "auth.users.password": SECRET,
    "auth.users.password_file": PATH,
    "auth.users.server_password": SECRET,
    "auth.users.server_password_file": PATH,
    "auth.users.pool_mode": POOL_MODE,
    "auth.users.pool_size": COUNT_FROM_1,
    "auth.users.max_client_connections": COUNT,
    "databases.name": NAME,
    "databases.server_name": NAME,
    "databases.server_user": NAME,
    "databases.server_password": SECRET,
    "databases.server_password_file": PATH,
    "databases.pool_mode": POOL_MODE,
    "databases.pool_size": COUNT_FROM_1,
    "databases.max_connections": COUNT,
    "pool.mode": POOL_MODE,
    "pool.size": COUNT_FROM_1,
    "pool.min_size": (["0", "20"], ["-1", "1000001", "1.0"]),
    "pool.reserve_size": COUNT,
    "pool.reserve_after": DAY,
    "pool.max_client_connections": COUNT_FROM_1,
    "pool.max_db_connections": COUNT,
    "pool.max_user_connections": COUNT,
    "pool.queue_limit": COUNT,
    "pool.queue_timeout": DAY,
    "pool.server_lifetime": YEAR,
    "pool.server_idle_timeout": YEAR,
    "pool.max_prepared_statements": (["0", "100000"], ["-1", "100001", "1.5"]),
    "pool.statements_per_client": COUNT_FROM_1,
    "pool.ignore_startup_parameters": NAMES,
    "timeouts.connect": HOUR_FROM_1MS,
    "timeouts.login": HOUR_FROM_1MS,
    "timeouts.unavailable": DAY,
    "timeouts.query": YEAR,
    "timeouts.idle_in_transaction": YEAR,
    "timeouts.transaction": YEAR,
    "timeouts.client_idle": YEAR,
    "timeouts.drain": DAY,
    "timeouts.dns_refresh": (["1", '"1s"', '"1d"'], ['"999ms"', '"25h"', "0", '"15"']),
    "timeouts.user_timeout": (["0", '"2s"', '"1h"'], ["-1", '"61m"', '"2"']),
    "limits.startup_bytes": (["64", "1048576"], ["63", "1048577", '"10kB"']),
    "limits.connections_per_address": (["1", "10000"], ["0", "1000001", "1.5"]),
    "limits.connections": COUNT_FROM_1,
    "backends.instances.name": (
        ['"primary-1"', '"a.b:c_d"', f'"{"x" * 63}"'],
        ['""', '"a b"', '"-a"', '"ü"', f'"{"x" * 64}"', "1"],
    ),
    "backends.instances.host": (
        ['"db.internal"', '"10.0.0.1"', '"::1"', '"/run/postgresql"', '"a_b"', '"db.internal."'],
        ['""', '"a b"', '"10.0.0.300"', '"a..b"', '"-a"', f'"{"x" * 64}"', '"a:1"', f'"/{"x" * 90}"', "1"],
    ),
    "backends.instances.port": PORT,
    "backends.instances.role": (['"primary"', '"replica"', '"auto"'], ['"master"', "true"]),
    "backends.instances.priority": (["0", "1000000"], ["-1", "1000001", "1.5", '"high"']),
    "backends.instances.weight": (["0.1", "1", "1000"], ["0", "-0.1", "1000.1", '"1"', "nan", "inf", "true"]),
    "backends.instances.zone": NAME,
    "backends.instances.region": NAME,
    "backends.instances.allowed_query_types": (
        ["[]", '["SELECT"]', '["SELECT", "INSERT", "COPY"]'],
        ['"SELECT"', '["select"]', '["TRUNCATE"]', "[1]"],
    ),
    "backends.instances.max_connections": COUNT,
    "backends.instances.circuit_breaker_latency_threshold_p95_ms": MILLISECONDS,
    "backends.instances.circuit_breaker_failure_threshold": PERCENT_BELOW_99,
    "circuit_breaker.enabled": TRUTH,
    "circuit_breaker.mode": (['"adaptive"', '"static"', '"predictive"'], ['"adaptve"', "1"]),
    "circuit_breaker.failure_threshold_percentage": PERCENT_BELOW_99,
    "circuit_breaker.latency_threshold_p95_ms": MILLISECONDS,
    "circuit_breaker.latency_threshold_p99_ms": (
        ["500", "3600000", '"2s"'],
        ["0", "3600001", '"500"', "true"],
    ),
    "circuit_breaker.connection_saturation_threshold": (
        ["0.1", "0.95", "1", '"95%"'],
        ["0.05", "1.1", "95", '"101%"', "true"],
    ),
    "circuit_breaker.metrics_window_size": (['"1s"', '"1h"'], ['"900ms"', '"61m"', '"10"']),
    "circuit_breaker.metrics_bucket_size": (['"10ms"', '"10s"'], ['"9ms"', '"11m"', '"1"']),
    "circuit_breaker.minimum_requests": COUNT,
    "circuit_breaker.open_duration": OPEN_SPAN,
    "circuit_breaker.half_open_max_concurrent": (["1", "1000"], ["0", "1001", "1.5"]),
    "circuit_breaker.half_open_success_threshold": PERCENT,
    "circuit_breaker.half_open_probe_interval": OPEN_SPAN,
    "circuit_breaker.gradual_recovery_enabled": TRUTH,
    "circuit_breaker.recovery_ramp_up_duration": (['"100ms"', '"1d"'], ['"99ms"', '"25h"', '"120"']),
    "circuit_breaker.recovery_step_percentage": PERCENT,
    "circuit_breaker.query_level_breakers_enabled": TRUTH,
    "circuit_breaker.slow_query_threshold_ms": MILLISECONDS,
    "circuit_breaker.query_pattern_detection": TRUTH,
    "circuit_breaker.user_level_breakers_enabled": TRUTH,
    "circuit_breaker.per_user_rate_limit": (["0.5", "1000", "1e9"], ["0", "-1", "2e9", '"1000"', "nan"]),
    "circuit_breaker.user_isolation_on_abuse": TRUTH,
    "circuit_breaker.connection_failure_threshold": FAILURES,
    "circuit_breaker.recovery_probe_timeout": HOUR_FROM_1MS,
    "health_checks.enabled": TRUTH,
    "health_checks.interval": (['"1s"', '"1d"'], ['"9ms"', '"25h"', '"1"']),
    "health_checks.timeout": (['"1ms"', '"1s"'], ["0", '"61m"', '"1"']),
    "health_checks.check_query": (['"SELECT 1"', '"select\\n1"'], ['""', '"  "', '"a\\u0000"', "1"]),
    "health_checks.collect_latency_percentiles": TRUTH,
    "health_checks.collect_connection_metrics": TRUTH,
    "health_checks.collect_replication_lag": TRUTH,
    "health_checks.collect_query_queue_depth": TRUTH,
    "observability.metrics_enabled": TRUTH,
    "observability.metrics_port": (["0", "65535"], ["-1", "65536", '"9090"']),
    "observability.log_circuit_state_changes": TRUTH,
    "observability.log_level": (
        ['"trace"', '"debug"', '"info"', '"warn"', '"warning"', '"error"'],
        ['"INFO"', '"loud"', "1"],
    ),
    "alerts.slack_webhook_url": (
        ['"https://hooks.example/x"', '"http://127.0.0.1:1/x"'],
        ['"hooks.example"', '"ftp://x"', '"https://a b"', '""', "1"],
    ),
    "alerts.pagerduty_integration_key": (['"aB3-_"'], ['""', '"a b"', "1"]),
    "alerts.alert_on_circuit_open": TRUTH,
    "alerts.alert_on_multiple_circuits_open": TRUTH,
    "alerts.alert_on_recovery_failure": TRUTH,
    "helios.mode": (['"edge"', '"proxy"'], ['"cloud"', "1"]),
    "helios.data_dir": (['"/var/lib/seawall"'], ['"data"', '""', "1"]),
    "edge.local_processing": TRUTH,
    "edge.cloud_sync_enabled": TRUTH,
    "edge.offline_mode_enabled": TRUTH,
    "edge.cloud_circuit_breaker_enabled": TRUTH,
    "edge.cloud_failure_threshold": FAILURES,
    "edge.cloud_open_duration": OPEN_SPAN,
}
