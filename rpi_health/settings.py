"""The catalogue of settings: what each is called in each place, what it does, and what is right.

Only words: values are read and checked in `config`. Every flag, variable, key, help text and error derives from here,
and importing this module costs nothing, so that `--help` can show it.
"""

from __future__ import annotations

from dataclasses import dataclass

ENVIRONMENT_PREFIX = "RPI_HEALTH_"

#: Makes the consumer fail on purpose, for tests, and what has to be `1` for that. No settings: nothing else sets them.
FAILPOINTS, FAILPOINTS_ALLOWED = "RPI_HEALTH_FAILPOINTS", "RPI_HEALTH_FAILPOINTS_ALLOWED"

#: The credentials that everyone knows: right for a first try on one's own machine only.
DEFAULT_USERNAME, DEFAULT_PASSWORD = "athavus", "1234"
DEFAULT_AMQP_URL = f"amqp://{DEFAULT_USERNAME}:{DEFAULT_PASSWORD}@localhost:5672/%2F"


@dataclass(frozen=True)
class Setting:
    """One setting. What it is called in each place derives from `name`.

    Args:
        name: the key in the config file.
        default: its default as one would write it, or in words where it depends on something.
        help: what it does, for `--help` and the documentation.
        right: what to give; completes the sentence "give ...".
        metavar: what stands for its value in `--help`; empty where the command line has no option with a value for it.
        command: the one command that has the option; empty: all have.
        field: its field of `Config`, where that carries a unit.
        secret: whether its value holds a password.
        from_file: whether it may also come from a file that a variable ending in `_FILE` names.
        is_flag: whether the command line has an option without a value for it, which sets it to true.
    """

    name: str
    default: str
    help: str
    right: str
    metavar: str = ""
    command: str = ""
    field: str = ""
    secret: bool = False
    from_file: bool = False
    is_flag: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "field", self.field or self.name)

    @property
    def environment(self) -> str:
        return ENVIRONMENT_PREFIX + self.name.upper()

    @property
    def file_environment(self) -> str:
        return self.environment + "_FILE"

    @property
    def has_option(self) -> bool:
        return bool(self.metavar) or self.is_flag

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


#: Where the other settings may stand. Not a key of the config file itself.
CONFIG_FILE = Setting(
    "config",
    "rpi-health/config.toml in the user's, then the system's config folder",
    "Config file (TOML).",
    "the path of a TOML file",
    metavar="FILE",
)

SETTINGS = (
    Setting(
        "amqp_url",
        DEFAULT_AMQP_URL,
        "Broker, or the brokers of a cluster separated by commas.",
        "amqp://USER:PASSWORD@HOST:5672/VHOST, or amqps://…",
        metavar="URL",
        field="amqp_urls",
        secret=True,
        from_file=True,
    ),
    Setting("amqp_username", "the URL's", "User at the broker; overrides the URL's.", "a user name", from_file=True),
    Setting(
        "amqp_password",
        "the URL's",
        "Password at the broker; overrides the URL's.",
        "the password as text",
        secret=True,
        from_file=True,
    ),
    Setting(
        "amqp_ca_file",
        "the system's",
        "Certificates of the authorities (CA) that an amqps:// broker's own may come from.",
        "the path of a PEM file with certificates of authorities",
    ),
    Setting(
        "amqp_cert_file",
        "none is shown",
        "Client certificate to show to an amqps:// broker.",
        "the path of a PEM file with a certificate and, without amqp_key_file, its key",
    ),
    Setting(
        "amqp_key_file",
        "it is in amqp_cert_file",
        "Key of the client certificate.",
        "the path of a PEM file with the key of amqp_cert_file, without a pass phrase",
    ),
    Setting(
        "tls_insecure",
        "false",
        "Take anybody for an amqps:// broker: do not check its certificate.",
        "true or false",
        is_flag=True,
    ),
    Setting(
        "queue",
        "rasp_data",
        "Queue with the health checks.",
        "a name of 1 to 255 bytes that does not begin with amq.",
        metavar="NAME",
    ),
    Setting(
        "dead_letter_queue",
        "<queue>.dead",
        "Queue for messages that are not health checks.",
        "a name of 1 to 255 bytes that does not begin with amq.",
    ),
    Setting(
        "queue_type",
        "classic",
        "Type of the queues, when they have to be created.",
        "classic or quorum",
        metavar="TYPE",
    ),
    Setting(
        "database_url",
        "an SQLite file in the user's data folder",
        "Database: SQLite, PostgreSQL or MySQL/MariaDB.",
        "sqlite:////PATH, postgresql://USER:PASSWORD@HOST/NAME or mysql://USER:PASSWORD@HOST/NAME",
        metavar="URL",
        secret=True,
        from_file=True,
    ),
    Setting("batch_size", "500", "Most messages written in one transaction.", "a whole number from 1 to 10000"),
    Setting(
        "prefetch",
        "2 × batch_size, at most 2000",
        "Most messages that the broker sends ahead of their acknowledgement.",
        "a whole number from 1 to 65535",
    ),
    Setting(
        "log_level",
        "info",
        "Least severe log lines to write: debug, info, warning or error.",
        "debug, info, warning or error",
        metavar="LEVEL",
    ),
    Setting(
        "log_format",
        "text",
        "Log lines for people (text) or for machines (json).",
        "text or json",
        metavar="FORMAT",
    ),
    Setting(
        "received_messages",
        "1000",
        "Payloads that shared.received_messages keeps.",
        "a whole number from 0 to 1000000",
        field="received_messages_limit",
    ),
    Setting(
        "metrics_addr",
        "none: nothing is served",
        "Where to serve metrics and health over HTTP, such as 127.0.0.1:9108.",
        "HOST:PORT, such as 127.0.0.1:9108, or :9108 for all addresses of this machine",
        metavar="HOST:PORT",
        command="consume",
    ),
    Setting(
        "metrics_devices",
        "0",
        "Most devices that get metrics of their own.",
        "a whole number from 0 to 10000",
        metavar="N",
        command="consume",
    ),
    Setting(
        "interval",
        "60s",
        "How often a device reports that does not say so in `interval_s`.",
        "a duration such as 60, 90s or 5m, from 0.1s to 7d",
        field="interval_s",
    ),
    Setting(
        "late_after",
        "2",
        "Intervals of silence after which a device is late.",
        "a number from 1 to 1000",
    ),
    Setting(
        "offline_after",
        "5",
        "Intervals of silence after which a device is offline.",
        "a number from 1 to 1000, and not less than late_after",
    ),
    Setting(
        "retention",
        "30d",
        "How old a report may become before consumers delete it; 0: they delete none.",
        "a duration with its unit, such as 30d, from 1h to 3650d, or 0",
        field="retention_s",
    ),
    Setting(
        "startup_timeout",
        "5s",
        "How long `consume` tries to reach broker and database before it gives up at start.",
        "a duration such as 5, 90s or 5m, from 0s to 7d",
        field="startup_timeout_s",
    ),
    Setting(
        "park_after",
        "5m",
        "How long the database may be away before the consumer gives its messages back and waits.",
        "a duration such as 90s or 5m, from 0s to 7d",
        field="park_after_s",
    ),
    Setting(
        "drain_timeout",
        "10s",
        "How long a stopping consumer may take to write what it holds.",
        "a duration such as 10 or 90s, from 0s to 7d",
        field="drain_timeout_s",
    ),
    Setting(
        "reconnect_max_delay",
        "30s",
        "Longest wait between two attempts to reach the broker.",
        "a duration such as 30 or 1m, from 0.1s to 7d",
        field="reconnect_max_delay_s",
    ),
    Setting(
        "database_retry_max_delay",
        "5s",
        "Longest wait between two attempts to write to the database.",
        "a duration such as 5 or 30s, from 0.1s to 7d",
        field="database_retry_max_delay_s",
    ),
)

BY_NAME = {setting.name: setting for setting in SETTINGS}
