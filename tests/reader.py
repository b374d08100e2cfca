"""Somebody who does what the pages of the documentation say: types commands, saves programs, and looks at what comes.

Knows the blocks of a page and their marks; not which pages there are, nor what they are about.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.amqp import Amqp
from tests.command import SCRIPT, Cli
from tests.pages import Block, Command, commands_of, is_shown
from tests.waiting import wait_until
from tools.servers import RabbitMQCluster

REPEATED = "repeated until it shows this"
AFTER_KILL = f"after the first node was killed, {REPEATED}"
SAVED = re.compile(r"saved as (\S+)")
MARKS = {
    "runs": "the Python program runs, and ends well",
    "saved as FILE": "the program is in that file from here on",
    "runs until stopped": "the last command runs until SIGTERM, then exits 0",
    REPEATED: "the command is run again and again, until its output is what is shown",
    "on postgresql": "from here on with a fresh PostgreSQL database in the environment",
    "on a cluster": "from here on with a cluster of three nodes in the environment",
    AFTER_KILL: "the first node of that cluster is killed before",
    "in a folder with the example's database": "there is a db.sqlite3 of the example's code with three devices in it",
    "the end of make demo": "compared with what tools/demo.py writes",
}


def runs(block: Block) -> bool:
    return block.language == "console" or block.mark == "runs" or SAVED.fullmatch(block.mark) is not None


class Reader(Cli):
    """Somebody who does what the pages say, with a broker and a queue that bear other names than the pages give."""

    def __init__(self, folder: Path, amqp: Amqp) -> None:
        super().__init__(folder)
        self._amqp = amqp
        #: The brokers, and what the pages call them.
        self._brokers = {f"127.0.0.1:{amqp.server.port}": "localhost:5672"}
        path = os.pathsep.join([str(SCRIPT.parent), os.environ.get("PATH", os.defpath)])
        self.env = {**amqp.env, "PATH": path, "COLUMNS": "80"}

    def move_to(self, cluster: RabbitMQCluster) -> None:
        """Have to do with the nodes of a cluster from here on."""
        ports = [node.port for node in cluster.nodes]
        self._brokers = {f"127.0.0.1:{port}": f"node-{n}.example:5672" for n, port in enumerate(ports, 1)}
        self.env["RPI_HEALTH_AMQP_URL"] = cluster.urls

    @property
    def queue(self) -> str:
        """What is `rasp_data` to the pages."""
        return self._amqp.queue

    def here(self, text: str) -> str:
        """What a page says, with the names that apply here."""
        for broker, name in self._brokers.items():
            text = text.replace(name, broker)
        return text.replace("rasp_data", self.queue)

    def there(self, text: str) -> str:
        """An output, with the names that the pages give."""
        for broker, name in self._brokers.items():
            text = text.replace(broker, name)
        return text.replace(self.queue, "rasp_data").replace(str(self.folder), "/home/pi")

    def run(self, *program: str) -> str:
        """Run a program to its end, which must be a good one. Returns all it has written."""
        # A file: the end of a pipe would come with that of the last process that was left in the background.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                program,
                env=self._env(self.env),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=60,
                check=False,
            )
            output.seek(0)
            written = output.read()
        assert done.returncode == 0, f"{program[-1]}\nexit status {done.returncode}\n{written}"
        return self.there(written)

    def follow(self, block: Block) -> None:
        """Do what a block says, and find what it shows."""
        if saved := SAVED.fullmatch(block.mark):
            (self.folder / saved[1]).write_text(self.here(block.text))
            return
        if block.language == "python":
            self.run(sys.executable, "-c", self.here(block.text))
            return
        commands = commands_of(block)
        last = commands.pop() if block.mark == "runs until stopped" else None
        do = self._repeat_until_shown if block.mark in (REPEATED, AFTER_KILL) else self._do
        for command in commands:
            do(command, block)
        if last is not None:
            self._stop_when_shown(last)

    def close(self) -> None:
        """Kill what a page has left in the background: whatever works in this home."""
        super().close()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (process / "cwd").samefile(self.folder):
                    os.kill(int(process.name), signal.SIGKILL)

    def _type(self, command: Command) -> str:
        return self.run("bash", "-c", self.here(command.line))

    def _do(self, command: Command, block: Block) -> None:
        written = self._type(command)
        assert not command.shown or is_shown(command.shown, written), f"{block}: {command.line}\n{written}"

    def _repeat_until_shown(self, command: Command, block: Block) -> None:
        written = ""

        def shows() -> bool:
            nonlocal written
            written = self._type(command)
            return is_shown(command.shown, written)

        try:
            wait_until(shows, 30, "what is shown")
        except TimeoutError as error:
            raise AssertionError(f"{block}: {command.line}\n{error}; there is\n{written}") from None

    def _stop_when_shown(self, command: Command) -> None:
        process = self.popen(*shlex.split(command.line)[1:], env=self.env)

        def shows() -> bool:
            return is_shown(command.shown + "\n…", self.there(self.output(process)))

        wait_until(shows, 20, f"the output of {command.line}: {command.shown}")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, self.output(process)
