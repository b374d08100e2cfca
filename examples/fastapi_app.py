"""FastAPI with rpi-health's consumer on a thread of each process that serves: the fleet, the last messages, health."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from rpi_health import shared, start_consumer_thread
from rpi_health.database import DeviceStatus, SessionLocal


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.consumer = start_consumer_thread()
    yield
    await asyncio.to_thread(app.state.consumer.stop)


app = FastAPI(lifespan=lifespan)


@app.get("/devices")
def devices() -> list[dict[str, Any]]:
    with SessionLocal() as session:
        rows = session.query(DeviceStatus).order_by(DeviceStatus.raspberry_id).all()
    return [{"id": row.raspberry_id, "last_update": row.last_update, "cpu_temp": row.cpu_temp} for row in rows]


@app.get("/messages")
def messages() -> Response:
    # As the Pis sent them: NaN, which is no JSON, becomes null.
    payloads = json.loads(json.dumps(shared.received_messages.copy()), parse_constant=lambda _: None)
    return Response(json.dumps(payloads), media_type="application/json")


@app.get("/health")
def health() -> JSONResponse:
    reasons = app.state.consumer.health.reasons
    return JSONResponse({"reasons": reasons}, 503 if reasons else 200)
