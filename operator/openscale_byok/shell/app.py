"""The composition root of the operator: builds the adapters, hands them to the engine, and runs both."""

import asyncio
import contextlib
import ctypes
import gc
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import aiohttp

from openscale_byok.adapters import global_key, http
from openscale_byok.adapters.audit_lines import AuditLines
from openscale_byok.adapters.cluster import Cluster
from openscale_byok.adapters.global_root_key import GlobalKeys
from openscale_byok.adapters.iam import Iam
from openscale_byok.adapters.root_keys import RootKeyDirectory, owners_root_key
from openscale_byok.core.global_names import UNREADABLE, of_datamart, of_instance
from openscale_byok.engine.context import Context, log
from openscale_byok.engine.data_keys import DataKeys
from openscale_byok.engine.fair_queue import FairQueue
from openscale_byok.engine.reconciler import Engine
from openscale_byok.engine.scope import WentBack
from openscale_byok.errors import ByokError, Refused
from openscale_byok.ports import Kms
from openscale_byok.ports.observers import CallObserver
from openscale_byok.reasons import Reason
from openscale_byok.resources import KINDS, OpenScaleInstance, SecretKeyRef, crn
from openscale_byok.shell.clock import SystemClock
from openscale_byok.shell.gateway.listener import listen
from openscale_byok.shell.handlers import serve
from openscale_byok.shell.health import Program, served_by_thread
from openscale_byok.shell.key_log import KeyLog
from openscale_byok.shell.metrics import CountedAudit, ProgramMetrics
from openscale_byok.shell.pulse import Pulse
from openscale_byok.shell.served import granted, until_granted
from openscale_byok.shell.settings import OperatorSettings, Settings

HEALTH_PORT = "OPENSCALE_BYOK_OPERATOR_HEALTH_PORT"
WATCHES = tuple(kind.PLURAL for kind in KINDS)
PAGES_AT_ONCE = 2
LARGE_BYTES = 128 * 1024
"""From here on memory is asked of the system, and given back to it, each time."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What both the operator and the gateway stand on."""

    cluster: Cluster
    session: aiohttp.ClientSession
    context: Context
    instances: tuple[OpenScaleInstance, ...]
    """Every instance, as it was at the start."""
    granted: asyncio.Event
    """Set once a namespace that had to be left out can be served: by whoever is started anew."""


async def run(settings: OperatorSettings, work: Callable[[Engine], Awaitable[None]] | None = None) -> None:
    """Run the operator until SIGTERM or SIGINT.

    Args:
        settings: from the environment.
        work: what is done with the engine, instead of feeding it with kopf's events.

    Raises:
        Refused: it must not run: a CRD is missing, or the global key's Secret while something names a version.
        Unavailable: the API server cannot be reached, or the audit's file not be written.
        WentBack: the cluster was restored under us; whoever started us is to do so again.
    """
    pulse, metrics = Pulse(time.monotonic, WATCHES), ProgramMetrics("operator", settings.key_poll_seconds)
    with listen(settings.operator_address, settings.operator_health_port, HEALTH_PORT) as sock:
        async with grounded(settings, "operator", metrics, pulse) as ground:
            engine = Engine(ground.context)
            for instance in ground.instances:
                engine.world.know(instance)
            health = Health(ground.cluster, engine.unready, *((pulse.unheard,) if work is None else ()))

            async def gather() -> None:
                metrics.observe(engine.observed())

            async with served_by_thread(Program(pulse, metrics, health.unready, gather), sock):
                port = sock.getsockname()[1]
                log.info("started", namespace=settings.namespace, instances=len(ground.instances), health_port=port)
                if work is None:
                    await serve(engine, (pulse, metrics), namespaces=ground.cluster.namespaces, stop=ground.granted)
                else:
                    await work(engine)


class Health:
    """What a program says of itself; asked in its own event loop."""

    def __init__(self, cluster: Cluster, *unready: Callable[[], Sequence[str]]) -> None:
        self._cluster, self._unready = cluster, unready

    async def unready(self) -> Sequence[str]:
        """The checks of `/readyz` that fail now."""
        failing = [name for checks in self._unready for name in checks()]
        try:
            await self._cluster.version()
        except ByokError:
            failing.append("api-server")
        return failing


@asynccontextmanager
async def grounded(
    settings: Settings,
    name: Literal["operator", "gateway"],
    metrics: ProgramMetrics | None = None,
    *observers: CallObserver,
    reviews: int = 0,
) -> AsyncIterator[Ground]:
    """Everything that is needed to work with instances and root keys, for as long as the block lasts.

    Args:
        settings: from the environment.
        name: who it is for. The operator alone makes a global key where there is none.
        metrics: that count what is done; None: nobody asks for them.
        observers: of calls to other systems, besides.
        reviews: connections to the API server, besides those that the settings ask for.

    Raises:
        Refused, Unavailable, WentBack: as `run`.
    """
    no_core_dumps()
    give_memory_back()
    # Thousands of objects live as long as the process: looking through them at every 700th allocation is waste.
    gc.set_threshold(100_000, 50, 100)
    metrics = metrics or ProgramMetrics(name)
    clock, at_once = SystemClock(), settings.writes_in_flight + settings.instances_at_once
    async with (
        _audit(settings, name, clock) as audit,
        Cluster.connect(
            at_once + reviews,
            FairQueue(at_once, most_of_one=at_once - at_once // 4),
            FairQueue(PAGES_AT_ONCE, most_of_one=1),
            observers=(metrics, *observers),
        ) as whole,
        http.open_session(settings.way(), observers=(metrics, *observers)) as session,
    ):
        await expect_our_kinds(whole)
        cluster = whole.within(await granted(whole, settings.namespaces))
        withheld = tuple(set(settings.namespaces) - set(cluster.namespaces))
        instances = await cluster.instances()
        for unreadable in instances.unreadable:
            log.error("invalid object", name=unreadable, reason=Reason.INVALID_OBJECT.value)
        iam = Iam(session, settings.iam_url)
        key = _global_key(settings, cluster, session, iam)
        if name == "operator" and not settings.global_root_key:
            at = settings.namespace, settings.global_key_secret
            await global_key.create_once(cluster, *at, lambda: named_versions(cluster, withheld))
        listeners = (KeyLog(), metrics)
        directory = RootKeyDirectory(session, iam, cluster, cluster, settings.policy(), global_key=key)
        data_keys = DataKeys(clock, listeners)
        tuning, policy = settings.tuning(), settings.instance_policy()
        counted = CountedAudit(audit, metrics)
        context = Context(
            cluster, cluster, directory, clock, data_keys, counted, tuning, listeners, policy=policy, work=(metrics,)
        )
        news = asyncio.Event()
        watching = asyncio.create_task(until_granted(whole, withheld), name="withheld namespaces")
        watching.add_done_callback(lambda _: news.set())
        try:
            yield Ground(cluster, session, context, instances.items, news)
        except WentBack as error:
            log.error("ending, to be started anew with an empty memory", message=str(error))
            raise
        except Exception:
            # A watch fails for good where its CRD was deleted: say that, as the next start would.
            await expect_our_kinds(cluster)
            raise
        finally:
            watching.cancel()


@asynccontextmanager
async def _audit(settings: Settings, name: str, clock: SystemClock) -> AsyncIterator[AuditLines]:
    audit = AuditLines(clock, settings.audit_file, name, chain=settings.audit_chain)
    try:
        yield audit
    finally:
        audit.close()


async def expect_our_kinds(cluster: Cluster) -> None:
    """Without a CRD there is nothing to do here, and no way to tell what is left to do.

    Raises:
        Refused: the API server does not serve one of our kinds.
    """
    unserved = await cluster.serves_our_kinds()
    if unserved:
        text = f"the API server does not serve {', '.join(unserved)}; apply the CRDs first: kubectl apply -k crds"
        raise Refused(Reason.INVALID_OBJECT, text)


def _global_key(settings: Settings, cluster: Cluster, session: aiohttp.ClientSession, iam: Iam) -> Kms:
    """The global key by the settings: its Secret, or a root key in Key Protect; what wrapped before still opens."""
    secret = global_key.GlobalKey(cluster, settings.namespace, settings.global_key_secret)
    at = SecretKeyRef(name=settings.global_root_key_secret, key="apikey")
    root_keys = {}
    for text in filter(None, (settings.global_root_key_former, settings.global_root_key)):
        root_key = crn.parse(text)
        endpoint = settings.global_root_key_endpoint or settings.key_protect_url or root_key.default_endpoint
        root_keys[text] = owners_root_key(session, iam, cluster, at, settings.namespace, endpoint, root_key)
    if settings.global_root_key:
        return GlobalKeys(root_keys[settings.global_root_key], secret, root_keys)
    return GlobalKeys(secret, secret, root_keys)


async def named_versions(cluster: Cluster, withheld: Sequence[str] = ()) -> dict[str, str]:
    """Each version of the global key's Secret that anything names, and one that names it.

    What cannot be read may name one too, and so may what is in a namespace that had to be left out.
    """
    instances, marts = await cluster.instances(), await cluster.every_datamart()
    found = [*filter(None, map(of_datamart, marts.items))]
    found += [naming for instance in instances.items for naming in of_instance(instance)]
    named = {naming.version: naming.where for naming in found if naming.in_secret}
    unreadable = (*instances.unreadable, *marts.unreadable, *(f"namespace {one}" for one in withheld))
    return named | ({UNREADABLE: f"{unreadable[0]}, perhaps: it cannot be read"} if unreadable else {})


def give_memory_back() -> None:
    """Have what is freed leave the process: a page of a list is large, rare and short-lived.

    By itself glibc keeps, for the next time, as much as it ever had to give at once. Other libraries of C have no such
    knob, and need none.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(m_mmap_threshold, LARGE_BYTES)
        mallopt(m_trim_threshold, 2 * LARGE_BYTES)


def no_core_dumps() -> None:
    """A core dump would hold data keys and passwords (PR_SET_DUMPABLE also keeps other processes out)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pr_set_dumpable = 4
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_dumpable, 0, 0, 0, 0)
