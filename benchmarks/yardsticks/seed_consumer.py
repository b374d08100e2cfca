"""The example code that rpi-health grew from, as it describes itself: acked before it is stored; then a select, an
insert or update, and a commit for each message. Its tables, its types.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pika
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, sessionmaker

from benchmarks.yardsticks.clock import Clock, options

PLAIN = (
    "wifi_status",
    "mem_usage",
    "cpu_temp",
    "cpu_percent",
    "gpio_used_count",
    "usb_devices_count",
    "net_bytes_sent",
    "net_bytes_recv",
)
AS_JSON = ("spi_buses", "i2c_buses", "net_ifaces")


class Base(DeclarativeBase):
    """The root of the seed's one model."""


class DeviceStatus(Base):
    """One row a device."""

    __table__ = sa.Table(
        "device_status",
        Base.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("raspberry_id", sa.String(128), unique=True, index=True, nullable=False),
        sa.Column("wifi_status", sa.String(64)),
        sa.Column("mem_usage", sa.String(64)),
        sa.Column("cpu_temp", sa.String(64)),
        sa.Column("led_internal_status", sa.Boolean, default=False),
        sa.Column("led_external_status", sa.Boolean, default=False),
        sa.Column("cpu_percent", sa.Float),
        sa.Column("gpio_used_count", sa.Integer),
        sa.Column("spi_buses", sa.Text),
        sa.Column("i2c_buses", sa.Text),
        sa.Column("usb_devices_count", sa.Integer),
        sa.Column("net_bytes_sent", sa.Integer),
        sa.Column("net_bytes_recv", sa.Integer),
        sa.Column("net_ifaces", sa.Text),
        sa.Column("last_update", sa.DateTime),
    )


def main() -> None:
    args = options(__doc__, messages=2_000, database_url="postgresql+psycopg://… or sqlite:///…").parse_args()
    engine = sa.create_engine(args.database_url)
    Base.metadata.create_all(engine)
    new_session = sessionmaker(bind=engine, autoflush=False)
    clock = Clock("seed", args.messages)

    def on_message(channel: Any, _method: object, _properties: object, body: bytes) -> None:
        clock.first()
        report = json.loads(body)
        fields = {name: report.get(name) for name in PLAIN}
        fields.update((name, json.dumps(report.get(name))) for name in AS_JSON)
        # As it was: naive, and in UTC.
        fields["last_update"] = datetime.utcnow()
        with new_session() as session:
            device = session.query(DeviceStatus).filter_by(raspberry_id=report["id"]).first()
            if device is None:
                session.add(DeviceStatus(raspberry_id=report["id"], **fields))
            else:
                for name, value in fields.items():
                    setattr(device, name, value)
            session.commit()
        if clock.count():
            channel.stop_consuming()

    connection = pika.BlockingConnection(pika.URLParameters(args.amqp_url))
    channel = connection.channel()
    channel.basic_consume(args.queue, on_message, auto_ack=True)
    channel.start_consuming()
    connection.close()
    engine.dispose()


if __name__ == "__main__":
    main()
