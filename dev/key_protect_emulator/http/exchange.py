"""One request and its answer: count, fault, perform, store, answer. The same for Key Protect and IAM."""

import asyncio
import sys
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from key_protect_emulator.backend import Backend
from key_protect_emulator.errors import IamError, KeyProtectError
from key_protect_emulator.faults import Fault
from key_protect_emulator.http.answers import Answer, enveloped, iam_error, kms_error


@dataclass
class Asker:
    """Who asked: filled in as soon as it is proven, so that refusals are attributed too."""

    identity: str | None = None


Perform = Callable[[Asker], Answer]


async def exchange(
    backend: Backend, request: web.Request, operation: str, key: str | None, perform: Perform
) -> web.Response:
    backend.counts.arrived(operation, key)
    fault = backend.faults.take(operation, key)
    if fault and fault.delay:
        await asyncio.sleep(fault.delay)
    answer, asker = Answer(500), Asker()
    if fault is None or fault.after or not _replaces(fault):
        answer = _performed(backend, operation, perform, asker)
    dropped = False
    if fault and _replaces(fault):
        answer, dropped = _fault_answer(fault, operation), fault.drop
    status = "dropped" if dropped else answer.status
    correlation = request.headers.get("Correlation-Id") or str(uuid.uuid4())
    backend.counts.answered(operation, status, asker.identity)
    backend.log.add(
        {
            "time": backend.clock.now(),
            "operation": operation,
            "method": request.method,
            "path": request.path,
            "instance": request.headers.get("Bluemix-Instance"),
            "key": key,
            "identity": asker.identity,
            "status": status,
            "fault": fault.id if fault else None,
            "correlation": correlation,
        }
    )
    if dropped and request.transport:
        request.transport.abort()
    headers = {"Correlation-Id": correlation, **answer.headers}
    if answer.body or answer.status not in {204, 304}:
        headers["Content-Type"] = answer.content_type
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def _performed(backend: Backend, operation: str, perform: Perform, asker: Asker) -> Answer:
    try:
        answer = perform(asker)
    except KeyProtectError as error:
        answer = kms_error(error, operation)
    except IamError as error:
        answer = iam_error(error)
    except Exception as error:  # noqa: BLE001 -- a fault of ours is a 500, as it would be there
        answer = _broken(error)
    try:
        backend.save()
    except OSError as error:
        return _broken(error)
    return answer


def report(error: Exception) -> str:
    """Say on stderr where it went wrong; not with what: values could be secrets."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = f"internal error: {type(error).__name__} in {frame.name}, line {frame.lineno}"
    print(text, file=sys.stderr)
    return text


def _broken(error: Exception) -> Answer:
    report(error)
    return enveloped("error", [{"errorMsg": "Internal Server Error"}], 500)


def _replaces(fault: Fault) -> bool:
    return fault.status is not None or fault.drop


def _fault_answer(fault: Fault, operation: str) -> Answer:
    status = fault.status or 500
    if fault.body is not None:
        return Answer(status, fault.body.encode(), fault.content_type, fault.headers)
    message = "Ordered by POST /emulator/faults"
    if operation.startswith("iam."):
        made = iam_error(IamError(status, fault.code or "BXNIM0000E", message))
    else:
        made = kms_error(KeyProtectError(status, fault.code, message), operation)
    return Answer(made.status, made.body, made.content_type, fault.headers)
