"""What a Python developer would write today: FastStream, pydantic, SQLAlchemy async on asyncpg; one upsert a message,
acked after its commit. No history.

The only module that imports FastStream and asyncpg, which the dependency group `bench` has.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from typing import Any, Optional

import sqlalchemy as sa
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.yardsticks.clock import Clock, options

PREFETCH = 100
POOL_SIZE = 20

TYPES: dict[str, Any] = {
    "wifi_status": sa.Text,
    "mem_usage": sa.Text,
    "cpu_temp": sa.Text,
    "cpu_percent": sa.Float,
    "gpio_used_count": sa.Integer,
    "spi_buses": JSONB,
    "i2c_buses": JSONB,
    "usb_devices_count": sa.Integer,
    "net_bytes_sent": sa.BigInteger,
    "net_bytes_recv": sa.BigInteger,
    "net_ifaces": JSONB,
}
STATUS = sa.Table(
    "device_status",
    sa.MetaData(),
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("raspberry_id", sa.Text, unique=True, nullable=False),
    *(sa.Column(name, type_) for name, type_ in TYPES.items()),
    sa.Column("last_update", sa.DateTime(timezone=True)),
)
NEW = insert(STATUS)
UPSERT = NEW.on_conflict_do_update(
    index_elements=["raspberry_id"], set_={name: NEW.excluded[name] for name in [*TYPES, "last_update"]}
)


class Report(BaseModel):
    """The message, checked."""

    id: str
    wifi_status: Optional[str] = None
    mem_usage: Optional[str] = None
    cpu_temp: Optional[str] = None
    cpu_percent: Optional[float] = None
    gpio_used_count: Optional[int] = None
    spi_buses: Any = None
    i2c_buses: Any = None
    usb_devices_count: Optional[int] = None
    net_bytes_sent: Optional[int] = None
    net_bytes_recv: Optional[int] = None
    net_ifaces: Any = None


async def main() -> None:
    args = options(__doc__, messages=5_000, database_url="postgresql+asyncpg://…").parse_args()
    engine = create_async_engine(args.database_url, pool_size=POOL_SIZE)
    async with engine.begin() as connection:
        await connection.run_sync(STATUS.metadata.create_all)
    broker = RabbitBroker(args.amqp_url, default_channel=Channel(prefetch_count=PREFETCH), logger=None)
    clock = Clock("faststream", args.messages)
    done = asyncio.Event()

    @broker.subscriber(RabbitQueue(args.queue, durable=True))
    async def store(report: Report) -> None:
        clock.first()
        row = report.model_dump()
        row["raspberry_id"] = row.pop("id")
        async with engine.begin() as connection:
            await connection.execute(UPSERT, {**row, "last_update": datetime.now(timezone.utc)})
        if clock.count():
            done.set()

    await broker.start()
    await done.wait()
    await broker.stop()
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main())
