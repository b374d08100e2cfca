"""For gunicorn that loads the application before it forks its workers: the consumer starts in each of them."""

from __future__ import annotations

from typing import Any

from rpi_health import start_consumer_thread

preload_app = True
wsgi_app = "flask_app:create_app(consume=False)"


def post_worker_init(worker: Any) -> None:
    worker.wsgi.extensions["consumer"] = start_consumer_thread()
