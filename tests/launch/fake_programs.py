"""Programs for the PATH of a launcher that ask the test what to do: it checks their arguments and answers."""

import dataclasses
import socketserver
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.launch.documented_arguments import faults
from tests.launch.launchers import write_program

# Starts in a hundredth of a second: no module of Python's own library is loaded.
_CLIENT = """
import _socket, sys
connection = _socket.socket()
connection.connect(("127.0.0.1", {port}))
connection.sendall(chr(0).join(["{name}", *sys.argv[1:]]).encode())
connection.shutdown(_socket.SHUT_WR)
answer = b""
while piece := connection.recv(65536):
    answer += piece
code, out, err = answer.decode().split(chr(0))
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(int(code))
"""


@dataclasses.dataclass(frozen=True)
class Answer:
    """How a call of a fake program ends."""

    out: str = ""
    err: str = ""
    code: int = 0


class FakePrograms:
    """Fake programs in a folder. Every call is kept; one that the documentation does not allow fails.

    Args:
        folder: where they are written.
        names: of the programs.
        answer: called with the words of each call.
    """

    def __init__(self, folder: Path, names: Sequence[str], answer: Callable[[list[str]], Answer]) -> None:
        self.folder, self._answer = folder, answer
        self.calls: list[list[str]] = []
        self.faults: list[str] = []
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        for name in names:
            text = _CLIENT.replace("{port}", str(self._server.server_address[1])).replace("{name}", name)
            write_program(folder / name, f"#!{sys.executable} -ISB\n{text}")

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> Any:
        programs = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                answer = programs._answer_to(self.rfile.read().decode().split("\0"))
                self.wfile.write("\0".join([str(answer.code), answer.out, answer.err]).encode())

        return Handler

    def _answer_to(self, words: list[str]) -> Answer:
        self.calls.append(words)
        wrong = faults(words)
        self.faults += wrong
        return Answer(err=f"ERROR: {wrong}\n", code=2) if wrong else self._answer(words)
