"""The composition root of the operator: builds the adapters, hands them to the engine, and runs both."""

import ctypes
import gc
import resource
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from openscale_byok.adapters import global_key, http
from openscale_byok.adapters.cluster import Cluster
from openscale_byok.adapters.iam import Iam
from openscale_byok.adapters.root_keys import RootKeyDirectory
from openscale_byok.engine.context import Context, log
from openscale_byok.engine.data_keys import DataKeys
from openscale_byok.engine.reconciler import Engine
from openscale_byok.engine.scope import WentBack
from openscale_byok.errors import Refused
from openscale_byok.ports import Listing
from openscale_byok.reasons import Reason
from openscale_byok.resources import GLOBAL, OpenScaleInstance
from openscale_byok.shell.handlers import serve
from openscale_byok.shell.key_log import KeyLog
from openscale_byok.shell.settings import Settings


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """See `ports.Clock`."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See `ports.Clock`."""
        return time.monotonic()


async def run(settings: Settings, work: Callable[[Engine], Awaitable[None]] = serve) -> None:
    """Run the operator until SIGTERM or SIGINT.

    Args:
        settings: from the environment.
        work: what is done with the engine; the operator feeds it with kopf's events.

    Raises:
        Refused: it must not run: a CRD is missing, or a version of the global key that is named somewhere.
        Unavailable: the API server cannot be reached.
        WentBack: the cluster was restored under us; whoever started us is to do so again.
    """
    no_core_dumps()
    # Thousands of objects live as long as the process: looking through them at every 700th allocation is waste.
    gc.set_threshold(100_000, 50, 100)
    async with (
        Cluster.connect(settings.writes_in_flight + settings.instances_at_once) as cluster,
        http.open_session() as session,
    ):
        await expect_our_kinds(cluster)
        instances = await cluster.instances()
        named = global_versions(instances)
        key = await global_key.load(cluster, settings.namespace, settings.global_key_secret, named)
        clock = SystemClock()
        directory = RootKeyDirectory(
            session, Iam(session, settings.iam_url), cluster, cluster, settings.policy(), global_key=key
        )
        observers = (KeyLog(),)
        data_keys = DataKeys(clock, observers)
        context = Context(cluster, cluster, directory, clock, data_keys, settings.tuning(), observers)
        engine = Engine(context)
        for instance in instances.items:
            engine.world.know(instance)
        log.info("started", namespace=settings.namespace, instances=len(instances.items), global_key=key.current[:8])
        try:
            await work(engine)
        except WentBack as error:
            log.error("ending, to be started anew with an empty memory", message=str(error))
            raise
        except Exception:
            # A watch fails for good where its CRD was deleted: say that, as the next start would.
            await expect_our_kinds(cluster)
            raise


async def expect_our_kinds(cluster: Cluster) -> None:
    """Without a CRD there is nothing to do here, and no way to tell what is left to do.

    Raises:
        Refused: the API server does not serve one of our kinds.
    """
    unserved = await cluster.serves_our_kinds()
    if unserved:
        text = f"the API server does not serve {', '.join(unserved)}; apply the CRDs first: kubectl apply -k crds"
        raise Refused(Reason.INVALID_OBJECT, text)


def global_versions(instances: Listing[OpenScaleInstance]) -> dict[str, str]:
    """Each version of the global key that some instance's data keys are wrapped by, and that instance."""
    return {
        global_key.version_of(entry.wrapped): "/".join(instance.key)
        for instance in instances.items
        for entry in instance.properties.data_keys
        if entry.root_key == GLOBAL
    }


def no_core_dumps() -> None:
    """A core dump would hold data keys and passwords (PR_SET_DUMPABLE also keeps other processes out)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pr_set_dumpable = 4
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_dumpable, 0, 0, 0, 0)
