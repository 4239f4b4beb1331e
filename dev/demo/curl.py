"""A request that is shown as a curl command, and made by exactly this command where the machine has curl."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stage.gateway_process import Gateway
from stage.program import Answer

SECONDS = 60
CA, BODY = "gateway-ca.crt", "body.json"
"""Files in the folder that curl runs in."""


class Curl:
    """Requests to one gateway, in the names of those whose tokens the shell knows."""

    def __init__(self, gateway: Gateway, folder: Path, say: Callable[[str], None], names: Mapping[str, str]) -> None:
        """*names* are variables of the shell: tokens, and what paths are made of."""
        self._gateway = gateway
        self._folder = folder
        self._say = say
        self._names = {**names, "GATEWAY_URL": gateway.url}
        self._curl = shutil.which("curl")

    def __call__(
        self,
        method: str,
        path: str,
        token: str,
        body: Mapping[str, Any] | None = None,
        *,
        hidden: bool = False,
        prefer: str = "",
        shown: bool = True,
    ) -> Answer:
        """Ask, and show how and what came back, but for the body.

        Args:
            method: of HTTP.
            path: may hold ``$NAMES``.
            token: the name of the one to show.
            body: may hold them too.
            hidden: whether the body goes through a file, as it holds a password.
            prefer: the header of this name.
            shown: whether it is told at all.
        """
        parts = [f'curl -i --cacert {CA} -H "Authorization: Bearer ${token}"']
        parts += [f"-X {method}"] if method != "GET" else []
        parts += [f"-H 'Prefer: {prefer}'"] if prefer else []
        text = json.dumps(body) if body is not None else None
        if text is not None and hidden:
            parts += [f"-d @{BODY}"]
            self._write(text)
        elif text is not None:
            parts += ['-d "' + text.replace('"', '\\"') + '"']
        lines = [parts[0], " ".join(parts[1:]), f"$GATEWAY_URL{path}"]
        command = " \\\n      ".join(filter(None, lines))
        if shown:
            self._say(f"  $ {command}")
        answer = self._run(command) if self._curl else self._ask(method, path, token, text, prefer)
        if shown:
            self._say(f"  {answer.status}" + (f" {answer.code}: {answer.message}" if answer.status >= 400 else ""))
        return answer

    def _run(self, command: str) -> Answer:
        clean = {"PATH": os.environ["PATH"], "HOME": str(self._folder)} | self._names
        done = subprocess.run(
            ["sh", "-c", command], cwd=self._folder, env=clean, capture_output=True, check=False, timeout=SECONDS
        )
        if done.returncode != 0:
            raise RuntimeError(f"curl exited with {done.returncode}")
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        while head.split()[1].startswith(b"1"):  # 100 Continue
            head, _, rest = rest.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return Answer(int(status.split()[1]), headers, rest)

    def _ask(self, method: str, path: str, token: str, body: str | None, prefer: str) -> Answer:
        headers = {"Content-Type": "application/json"} | ({"Prefer": prefer} if prefer else {})
        sent = self._expanded(body).encode() if body is not None else None
        return self._gateway.call(method, self._expanded(path), self._names[token], sent, headers)

    def _expanded(self, text: str) -> str:
        """With names as the shell would put them in; no secret holds a ``$``."""
        for name, value in self._names.items():
            text = text.replace(f"${name}", value)
        return text

    def _write(self, body: str) -> None:
        file = self._folder / BODY
        file.touch(0o600)
        file.write_text(body)
