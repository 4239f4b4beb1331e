"""The composition root of the gateway: builds the adapters, hands them to the routes, and runs both."""

import asyncio
from collections.abc import Callable, Collection
from time import monotonic

from aiohttp import web

from openscale_byok.adapters.certificate_files import FileCertificate
from openscale_byok.adapters.cluster import Cluster
from openscale_byok.adapters.iam_tokens import IamTokens
from openscale_byok.adapters.reviews import AskedReviews
from openscale_byok.adapters.service_account_keys import ServiceAccountKeys
from openscale_byok.adapters.serving_certificate import OwnCertificate, ServingCertificate
from openscale_byok.engine.answers import AT_ONCE
from openscale_byok.engine.context import log
from openscale_byok.engine.giving import Giving
from openscale_byok.engine.pace import Pace, Waits
from openscale_byok.engine.reader import Reader
from openscale_byok.engine.rights import Rights
from openscale_byok.engine.summarised_audit import SummarisedAudit
from openscale_byok.ports import Clock
from openscale_byok.shell import handlers
from openscale_byok.shell.app import WATCHES, Health, grounded
from openscale_byok.shell.gateway import server
from openscale_byok.shell.gateway.application import METRICS, application
from openscale_byok.shell.gateway.connections import Limits
from openscale_byok.shell.gateway.metrics import Metrics
from openscale_byok.shell.gateway.parts import PARTS, Parts
from openscale_byok.shell.gateway.requests import guard
from openscale_byok.shell.gateway.routes import OPEN, every_route
from openscale_byok.shell.gateway.settings import GatewaySettings
from openscale_byok.shell.handlers import Served
from openscale_byok.shell.pulse import Pulse

REVIEWS_AT_ONCE = 4 * AT_ONCE
"""Callers and accesses, of those who are known and of strangers."""


async def run(settings: GatewaySettings) -> None:
    """Run the gateway until SIGTERM or SIGINT; then let what was asked be answered first.

    Raises:
        Refused: it must not run: a CRD is missing, a setting is wrong, a port is taken.
        Unavailable: the API server cannot be reached.
        WentBack: the cluster was restored under us; whoever started us is to do so again.
    """
    pulse, metrics = Pulse(monotonic, WATCHES), Metrics(settings.key_poll_seconds)
    async with grounded(settings, "gateway", metrics, pulse, reviews=REVIEWS_AT_ONCE) as ground:
        clock = ground.context.clock
        reader = Reader(ground.context)
        for instance in ground.instances:
            reader.world.know(instance)
        audit = SummarisedAudit(ground.context.audit, clock)
        keys = ServiceAccountKeys(ground.cluster, settings.gateway_audiences, clock)
        await keys.refresh()
        iam = IamTokens(ground.session, settings.iam_url, clock)
        rights = Rights(AskedReviews(ground.cluster, iam, settings.gateway_audiences, keys), clock)
        pace, strangers = (Pace(settings.gateway_requests_per_second, settings.gateway_burst, clock) for _ in range(2))
        around = guard(rights, pace, audit, OPEN, strangers=strangers)
        limits = Limits(connections=settings.gateway_connections)
        api = application(metrics, around, limits=limits, is_open=OPEN.__contains__)
        # Whatever waits holds a connection: half of them stay for everybody else.
        waits = Waits(min(settings.gateway_waits, limits.connections // 2), settings.gateway_waits_of_one_caller)
        giving = Giving(ground.context, reader, ground.cluster)
        api[PARTS] = Parts(reader, giving, ground.cluster, ground.cluster, rights, audit, waits, pace)
        api.add_routes(every_route())
        certificate = await _certificate(settings, ground.cluster, clock)
        try:
            async with audit.running():
                health = Health(ground.cluster, reader.unready)

                def gather() -> None:
                    metrics.observe(reader.observed())

                await _together(
                    reader, api, certificate, settings, health, pulse, ground.cluster.namespaces, ground.granted, gather
                )
        finally:
            await rights.close()
            await keys.close()


async def _certificate(settings: GatewaySettings, cluster: Cluster, clock: Clock) -> ServingCertificate:
    if settings.gateway_certificate or settings.gateway_private_key:
        return FileCertificate(settings.gateway_certificate, settings.gateway_private_key, clock)
    own = OwnCertificate(cluster, settings.namespace, settings.gateway_authority, settings.gateway_names, clock)
    return await own.start()


async def _together(
    reader: Served,
    api: web.Application,
    certificate: ServingCertificate,
    settings: GatewaySettings,
    health: Health,
    pulse: Pulse,
    namespaces: Collection[str],
    ending: asyncio.Event,
    gather: Callable[[], None] = lambda: None,
) -> None:
    """Listen, and follow the cluster until the last request is answered. When one of the two ends, the other does."""
    over = asyncio.Event()

    def started(ports: server.Ports) -> None:
        log.info("started", port=ports.api, health_port=ports.health)

    async def listen() -> None:
        try:
            await server.serve(
                api, health.unready, certificate, settings, stop=ending, started=started, pulse=pulse, gather=gather
            )
        finally:
            over.set()

    listening = asyncio.create_task(listen(), name="listeners")
    try:
        await handlers.serve(reader, (pulse, api[METRICS]), namespaces=namespaces, stop=over, signalled=ending.set)
    finally:
        ending.set()
        await asyncio.wait({listening})
        # kopf cancels whatever it did not know at its own end, the listeners' tasks too: why it ended is what counts.
        failed = None if listening.cancelled() else listening.exception()
    if failed is not None:
        raise failed
