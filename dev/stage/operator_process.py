"""The operator as a process of its own."""

from stage.program import Program


class Operator(Program):
    """An operator that can be started, stopped, killed and started again."""

    command = "run"
