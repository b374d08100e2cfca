"""The metrics that a consumer offers: names, units, labels and meanings, in one catalogue.

Names and units are by Prometheus' conventions. What is documented, what is offered and what the alert rules and the
dashboard in `contrib/` ask for are checked against this.
"""

from __future__ import annotations

from typing import NamedTuple

from rpi_health.errors import REASONS
from rpi_health.hearing import STATES

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"


class Family(NamedTuple):
    """A metric.

    Args:
        name: as it is asked for; a counter's ends in `_total`.
        kind: `counter`, `gauge` or `histogram`.
        help: what it says.
        label: the name of its label; empty: none.
        values: of the label, all of which are there from the start; none where they are the ids of devices.
    """

    name: str
    kind: str
    help: str
    label: str = ""
    values: tuple[str, ...] = ()


RETRIED = ("start", "database", "dead_letter")

BUILD = Family("rpi_health_build_info", GAUGE, "Always 1; the label tells the version.", "version")
LIVE = Family("rpi_health_live", GAUGE, "1 while the consumer can make progress, as /livez has it.")
READY = Family("rpi_health_ready", GAUGE, "1 while messages are taken and can be stored, as /readyz has it.")
DELIVERED = Family("rpi_health_messages_delivered_total", COUNTER, "Messages that the broker delivered.")
REDELIVERED = Family(
    "rpi_health_messages_redelivered_total", COUNTER, "Those of them that the broker had delivered before."
)
STORED = Family("rpi_health_reports_stored_total", COUNTER, "Health checks that were committed.")
STALE = Family(
    "rpi_health_reports_stale_total", COUNTER, "Those of them that were older than what was stored of their device."
)
DEAD_LETTERED = Family(
    "rpi_health_messages_dead_lettered_total", COUNTER, "Messages that are no health checks.", "reason", tuple(REASONS)
)
BATCH = Family("rpi_health_batch_size_messages", HISTOGRAM, "Messages that were judged and stored together.")
WRITE = Family("rpi_health_write_duration_seconds", HISTOGRAM, "How long storing a batch took, with its commit.")
SESSIONS = Family(
    "rpi_health_reconnects_total", COUNTER, "Times that consuming began again after a lost connection or parking."
)
RETRIES = Family(
    "rpi_health_retries_total",
    COUNTER,
    "Tries in vain: to begin consuming, to write to the database, to publish dead letters.",
    "step",
    RETRIED,
)
BACKLOG = Family(
    "rpi_health_backlog_messages", GAUGE, "Messages that waited in the queue when last asked; NaN while not consuming."
)
LAST_COMMIT = Family(
    "rpi_health_last_commit_timestamp_seconds", GAUGE, "When a batch was committed last; 0 before the first."
)
HELD = Family(
    "rpi_health_held_seconds_total", COUNTER, "Time in which messages were held because the database gave errors."
)
PARKED = Family("rpi_health_parked_seconds_total", COUNTER, "Time in which messages waited at the broker for that.")
DEAD_HELD = Family(
    "rpi_health_dead_letters_held_messages", GAUGE, "Messages that wait to be published as dead letters."
)

CONSUMER = (
    *(BUILD, LIVE, READY, DELIVERED, REDELIVERED, STORED, STALE, DEAD_LETTERED, BATCH, WRITE),
    *(SESSIONS, RETRIES, BACKLOG, LAST_COMMIT, HELD, PARKED, DEAD_HELD),
)

FLEET_KNOWN = Family(
    "rpi_health_fleet_known",
    GAUGE,
    "1 while the database tells how the fleet is; else its other metrics are NaN.",
)
DEVICES = Family("rpi_health_devices", GAUGE, "Devices by state.", "state", STATES)
HOT = Family("rpi_health_hot_devices", GAUGE, "Devices of 80 °C or more.")
LAST_REPORT = Family(
    "rpi_health_last_report_timestamp_seconds", GAUGE, "When any device was heard of last; 0 before the first."
)
LEFT_OUT = Family(
    "rpi_health_left_out_devices", GAUGE, "Devices without series of their own, for there are more than may have them."
)
FLEET = (FLEET_KNOWN, DEVICES, HOT, LAST_REPORT, LEFT_OUT)

_ID = "raspberry_id"
UP = Family("rpi_health_device_up", GAUGE, "1 unless the device is offline.", _ID)
HEARD = Family("rpi_health_device_last_heard_timestamp_seconds", GAUGE, "When the device was heard of last.", _ID)
REPORTED = Family(
    "rpi_health_device_last_report_timestamp_seconds", GAUGE, "The time of its newest report, by its own clock.", _ID
)
TEMPERATURE = Family("rpi_health_device_cpu_temperature_celsius", GAUGE, "Temperature of its CPU.", _ID)
CPU = Family("rpi_health_device_cpu_usage_ratio", GAUGE, "Load of its CPU, from 0 to 1.", _ID)
MEMORY = Family("rpi_health_device_memory_used_bytes", GAUGE, "Memory in use, if it tells that in bytes.", _ID)
MEMORY_RATIO = Family(
    "rpi_health_device_memory_used_ratio", GAUGE, "Memory in use, from 0 to 1, if it tells that in percent.", _ID
)
SENT = Family("rpi_health_device_network_sent_bytes_total", COUNTER, "Bytes that it sent since it started.", _ID)
RECEIVED = Family("rpi_health_device_network_received_bytes_total", COUNTER, "Bytes that it received since then.", _ID)
GPIO = Family("rpi_health_device_gpio_used_pins", GAUGE, "GPIO pins in use.", _ID)
USB = Family("rpi_health_device_usb_devices", GAUGE, "USB devices that it sees.", _ID)
DEVICE = (UP, HEARD, REPORTED, TEMPERATURE, CPU, MEMORY, MEMORY_RATIO, SENT, RECEIVED, GPIO, USB)

FAMILIES = (*CONSUMER, *FLEET, *DEVICE)
