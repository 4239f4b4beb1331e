"""The operator as a process of its own."""

from collections.abc import Mapping
from pathlib import Path

from stage.program import Program


class Operator(Program):
    """An operator that can be started, stopped, killed and started again."""

    command = "run"

    def __init__(self, kubeconfig: Path, log: Path, settings: Mapping[str, str], *, detached: bool = False) -> None:
        """As `Program`; health and metrics on a free port of this machine."""
        free = {"OPERATOR_ADDRESS": "127.0.0.1", "OPERATOR_HEALTH_PORT": "0"}
        super().__init__(kubeconfig, log, free | dict(settings), detached=detached)
