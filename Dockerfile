# rpi-health in a container. How to run it: docs/deployment.md, and compose.yaml for all that it needs besides.

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY alembic alembic
COPY rpi_health rpi_health
RUN python -m venv /opt/rpi-health && /opt/rpi-health/bin/pip install --no-cache-dir '.[all]'

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="rpi-health" \
      org.opencontainers.image.description="Consumes the health checks of Raspberry Pis from RabbitMQ into a database, loses none, and shows the fleet." \
      org.opencontainers.image.licenses="MIT"
# A new volume takes over the owner of the folder that it is mounted on.
RUN useradd --system --no-log-init --uid 10001 --user-group --home-dir /var/lib/rpi-health rpi-health \
    && install --directory --owner=rpi-health --group=rpi-health --mode=0750 /var/lib/rpi-health
COPY --from=build /opt/rpi-health /opt/rpi-health
# XDG_DATA_HOME: where SQLite's file is, unless RPI_HEALTH_DATABASE_URL or a config file says otherwise.
ENV PATH=/opt/rpi-health/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_DATA_HOME=/var/lib \
    RPI_HEALTH_METRICS_ADDR=:9108
# By number: Kubernetes cannot tell from a name that it is not root.
USER 10001:10001
WORKDIR /var/lib/rpi-health
EXPOSE 9108
STOPSIGNAL SIGTERM
# Liveness, not readiness: a consumer that waits for its broker is well. No urllib: it would ask a proxy, if one is set.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import http.client, sys; livez = http.client.HTTPConnection('127.0.0.1', 9108, timeout=4); \
livez.request('GET', '/livez'); sys.exit(livez.getresponse().status != 200)"]
ENTRYPOINT ["rpi-health"]
CMD ["consume"]
