"""Flask with rpi-health's consumer on a thread of each process that serves: the fleet, the last messages, health."""

from __future__ import annotations

import json
from typing import Any

import click
from flask import Blueprint, Flask, Response, current_app, jsonify
from werkzeug.serving import is_running_from_reloader

from rpi_health import shared, start_consumer_thread
from rpi_health.database import DeviceStatus, SessionLocal

fleet = Blueprint("fleet", __name__)


def create_app(consume: bool = True) -> Flask:
    app = Flask(__name__)
    app.register_blueprint(fleet)
    if consume and serves(app):
        app.extensions["consumer"] = start_consumer_thread()
    return app


def serves(app: Flask) -> bool:
    """Whether this process answers requests: `flask shell` does not, and of two with a reloader, only the second."""
    context = click.get_current_context(silent=True)
    if context is None:
        return True  # not by the command `flask`, but by a server such as gunicorn
    reload = context.params.get("reload")  # None: as debug mode has it
    is_watched = app.debug if reload is None else reload
    return context.info_name == "run" and (not is_watched or is_running_from_reloader())


def row_as_json(row: DeviceStatus) -> dict[str, Any]:
    last_update = row.last_update and row.last_update.isoformat()
    return {"id": row.raspberry_id, "last_update": last_update, "cpu_temp": row.cpu_temp}


@fleet.get("/devices")
def devices() -> Response:
    with SessionLocal() as session:
        rows = session.query(DeviceStatus).order_by(DeviceStatus.raspberry_id).all()
    return jsonify([row_as_json(row) for row in rows])


@fleet.get("/messages")
def messages() -> Response:
    # As the Pis sent them: NaN, which is no JSON, becomes null.
    payloads = json.loads(json.dumps(shared.received_messages.copy()), parse_constant=lambda _: None)
    return Response(json.dumps(payloads), mimetype="application/json")


@fleet.get("/health")
def health() -> tuple[Response, int]:
    consumer = current_app.extensions.get("consumer")
    reasons = ("No consumer was started here.",) if consumer is None else consumer.health.reasons
    return jsonify(reasons=reasons), 503 if reasons else 200
