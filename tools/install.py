"""Install what a target of the Makefile needs and this machine lacks: ``python3 -m tools.install venv|demo|test|…``.

Through apt-get, as root or with a sudo that asks no password; otherwise it only says what to install, and fails.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tools import docker
from tools.servers.mariadb import find_mariadb
from tools.servers.postgresql import find_postgresql
from tools.servers.process import ServerMissing, find_program
from tools.servers.rabbitmq import find_script

POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = """#!/bin/sh
# Written by rpi-health's tools/install.py while it installs servers, and removed afterwards. Safe to delete.
exit 101
"""
UNITS = {
    "rabbitmq-server": "rabbitmq-server",
    "postgresql": "postgresql",
    "mariadb-server": "mariadb",
    "prometheus": "prometheus",
}


def need_venv() -> None:
    # Debian keeps ensurepip, without which `python3 -m venv` fails, in a package of its own.
    if importlib.util.find_spec("ensurepip") is None:
        raise ServerMissing("ensurepip", "python3-venv")


def need_broker() -> None:
    if os.environ.get("RPI_HEALTH_AMQP_URL"):
        return
    try:
        find_script("rabbitmq-server")
    except ServerMissing:
        if not docker.engine_runs():
            raise


def need_rabbitmq() -> None:
    find_script("rabbitmq-server")


def need_postgresql() -> None:
    find_postgresql("initdb")


def need_mariadb() -> None:
    find_mariadb("mariadbd", "mysqld")


def need_promtool() -> None:
    find_program(["promtool"], [], "prometheus")


def need_tmux() -> None:
    find_program(["tmux"], [], "tmux")


NEEDS: dict[str, list[Callable[[], None]]] = {
    "venv": [need_venv],
    "demo": [need_venv, need_broker],
    "test": [need_venv, need_rabbitmq, need_postgresql, need_mariadb, need_promtool, need_tmux],
    "bench": [need_venv, need_rabbitmq, need_postgresql, need_mariadb],
}


def missing_packages(purpose: str) -> list[str]:
    """The Debian packages that `purpose` needs and that are not there. It is programs that count, not packages."""
    packages = []
    for need in NEEDS[purpose]:
        try:
            need()
        except ServerMissing as missing:
            packages.append(missing.package)
    return packages


@contextlib.contextmanager
def services_left_alone() -> Iterator[None]:
    """Keep the packages from starting their services: nobody asked for a broker on port 5672 or a database on 5432.

    The distribution's own switch for that is policy-rc.d. One that is there already is somebody's decision.
    """
    ours = not POLICY.exists() or POLICY.read_text() == POLICY_TEXT  # left by a run that was killed
    if ours:
        POLICY.write_text(POLICY_TEXT)
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink()


def disable_services(packages: list[str]) -> None:
    """Nor shall the services that have just come in start at the next boot."""
    units = [UNITS[package] for package in packages if package in UNITS]
    if units and Path("/run/systemd/system").is_dir():
        say(f"disabling the services that came with them: {' '.join(units)} (systemctl enable brings them back)")
        subprocess.run(["systemctl", "disable", "--quiet", *units], stdout=sys.stderr, check=False)


def apt_get(*args: str) -> None:
    # A machine that has just booted may be busy with its own upgrades, which hold dpkg's lock.
    options = ["--quiet", "--quiet", "--option", "Dpkg::Use-Pty=0", "--option", "DPkg::Lock::Timeout=300"]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(
        ["apt-get", *options, *args], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True
    )


def install(packages: list[str]) -> None:
    say(f"installing {' '.join(packages)}")
    apt_get("update")
    with services_left_alone():
        apt_get("install", "--yes", "--no-install-recommends", *packages)
    disable_services(packages)


def become_root(packages: list[str]) -> None:
    """Start this program again as root, where sudo asks no password; return where it would."""
    if shutil.which("sudo") is None:
        return
    if subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0:
        # -B: else root's bytecode files would stay in the user's checkout.
        os.execvp("sudo", ["sudo", "-n", sys.executable, "-B", "-m", "tools.install", "packages", *packages])


def provide(packages: list[str]) -> int:
    """Install the packages; returns an exit status."""
    if not packages:
        return 0
    wanted = f"apt-get install {' '.join(packages)}"
    if shutil.which("apt-get") is None:
        say(f"this needs what Debian and Ubuntu install with: {wanted}")
        return 1
    if os.geteuid() != 0:
        become_root(packages)
        say(f"something is missing. Install it, then run this again:\n\n    sudo {wanted}\n")
        return 1
    try:
        install(packages)
    except subprocess.CalledProcessError as error:
        say(f"{' '.join(error.cmd)} failed. Install them yourself, then run this again:\n\n    {wanted}\n")
        return 1
    return 0


def say(text: str) -> None:
    print(f"rpi-health: {text}", file=sys.stderr, flush=True)


def main(args: list[str]) -> int:
    if sys.version_info < (3, 9):  # noqa: UP036 - the first thing to run on a machine with an older one
        found = f"{sys.executable} is {sys.version.split()[0]}"
        say(f"this needs Python 3.9 or newer, and {found}. Name another: make PYTHON=python3.X")
        return 1
    if args[:1] == ["packages"]:
        return provide(args[1:])
    if len(args) != 1 or args[0] not in NEEDS:
        say(f"usage: python3 -m tools.install {'|'.join(NEEDS)}")
        return 2
    return provide(missing_packages(args[0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
