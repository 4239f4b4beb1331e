"""One pass over one instance: observe, plan, execute the step, and plan again until nothing is left to do."""

import asyncio

from openscale_byok.core import conditions, steps
from openscale_byok.core.findings import needs_source
from openscale_byok.core.plan import SLICE, plan
from openscale_byok.core.retention import shred_time
from openscale_byok.core.sealable import Sealable
from openscale_byok.core.view import View
from openscale_byok.engine import key_steps
from openscale_byok.engine.context import Context, log
from openscale_byok.engine.following import Following
from openscale_byok.engine.former_versions import FormerVersions
from openscale_byok.engine.last_copies import LastCopies
from openscale_byok.engine.listing import RELIST_SECONDS, list_anew
from openscale_byok.engine.readers import Readers
from openscale_byok.engine.scope import Key, Scope
from openscale_byok.engine.seal_steps import SealSteps
from openscale_byok.errors import ByokError, Changed, Missing, Refused
from openscale_byok.resources import OpenScaleInstance, RootKeyBinding

RELIST_WHILE_DELETING_SECONDS = 15.0


class Engine(Following):
    """The whole of it: it also plans, and executes what is planned."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, self._went)
        self._former = FormerVersions()
        self._readers = Readers(self.world)
        self._complete = False
        self._last_copies = LastCopies(context, self._queue.wake)

    def unready(self) -> list[str]:
        """What keeps the operator from being complete after its start: instances that it has not listed yet.

        Later ones do not count: how many there are is for others to say. Nor does one that cannot be read because of
        its own objects.
        """
        self._complete = self._complete or not any(scope.unread for scope in self.world.scopes.values())
        return [] if self._complete else ["list"]

    def _went(self, key: Key, sealable: Sealable) -> None:
        self._last_copies.went(key, sealable)

    # One pass -----------------------------------------------------------------------------------------

    async def _step(self, key: Key) -> float | None:
        """One step, so that no instance keeps another waiting; zero asks for the next one at once."""
        scope = self.world.scope(key)
        await self._last_copies.tell(scope)
        try:
            if not scope.listed or scope.relist_due <= self._context.clock.monotonic():
                wait = scope.list_wait(self._context.clock.monotonic())
                if wait > 0:
                    return max(0.05, wait)
                await self._list(scope)
        except ByokError as error:
            self._failed(scope, "list", error)
            await self._say_unread(scope, error)
            return max(0.05, scope.troubles["list"].due - self._context.clock.monotonic())
        if scope.empty:
            self._poll.follow(scope)
            self._former.settled(scope, self.world.scopes)
            self.world.drop(key)
            self._queue.forget(key)
            return None
        self._poll.follow(scope)
        self._former.see(scope)
        clock = self._context.clock
        view = scope.view(clock.monotonic(), self.world.conflict(key), clock.now())
        step = plan(view)
        if step is None:
            self._former.settled(scope, self.world.scopes)
            return self._next_look(scope, view)
        await self._execute(scope, view, step)
        await asyncio.sleep(0)
        return 0.0

    async def _list(self, scope: Scope) -> None:
        await list_anew(self._context, scope)
        now, refresh = self._context.clock.monotonic(), self._context.tuning.source_refresh_seconds
        for sealable in scope.sealables.values():
            if sealable.ready and sealable.uid not in scope.notes and not sealable.meta.ours:
                # Settled before this process began: its source is looked at in its turn, not in a herd.
                due = now + refresh * self._context.jitter()
                scope.note(sealable, source_looked=sealable.meta.generation, source_due=due)

    async def _say_unread(self, scope: Scope, error: ByokError) -> None:
        """An object that is not of its CRD's shape stops its instance: the instance says which one it is."""
        instance = scope.instance
        if instance is None or not isinstance(error, Refused):
            return
        meta, wanted = instance.metadata, conditions.of_unread_instance(error)
        found = conditions.merged(instance.status.conditions, wanted, meta.generation, self._context.now_text())
        if found is None:
            return
        status = {"conditions": found, "observedGeneration": meta.generation}
        try:
            scope.see_instance(
                OpenScaleInstance.of(await self._context.store.patch_status(instance.KIND, meta, status))
            )
            await self._context.store.announce(instance.KIND, meta, error.reason, error.message)
        except ByokError as failure:
            log.warning("unread not said", namespace=scope.key[0], instance=scope.key[1], reason=failure.reason.value)

    async def _execute(self, scope: Scope, view: View, step: steps.Step) -> None:
        try:
            await self._run(scope, view, step)
        except ByokError as error:
            self._failed(scope, step.subject, error)
        else:
            scope.troubles.pop(step.subject, None)

    async def _run(self, scope: Scope, view: View, step: steps.Step) -> None:
        context = self._context
        if isinstance(step, steps.Batch):
            await self._run_batch(scope, step)
            return
        match step:
            case steps.Report():
                await self._report(scope, view)
            case steps.Hold():
                await key_steps.hold(context, scope, step)
            case steps.LetGo():
                await key_steps.let_go(context, scope, step)
            case steps.Release():
                await key_steps.release(context, scope, step, view.conflict)
            case steps.Rebuild():
                await key_steps.rebuild(context, scope, step)
            case steps.Mint():
                await key_steps.mint(context, scope, step, view.conflict)
            case steps.Rewrap():
                await key_steps.rewrap(context, scope, step)
            case steps.Retire():
                await key_steps.retire(context, scope, step)
            case steps.ShredKeys():
                await key_steps.shred_keys(context, scope, step)
            case _:
                raise RuntimeError(f"a plan named {type(step).__name__}, which nobody executes")

    async def _run_batch(self, scope: Scope, step: steps.Batch) -> None:
        work = SealSteps(self._context, scope, self._readers)
        try:
            match step:
                case steps.Verify():
                    await work.verify(step)
                case steps.Seal():
                    await work.seal(step)
                case steps.Confirm():
                    await work.confirm(step)
                case steps.Unhold():
                    await work.unhold(step)
                case steps.ReEncrypt():
                    await work.re_encrypt(step)
                case steps.Recover():
                    await work.recover(step)
                case steps.MarkStuck():
                    await work.mark_stuck(step)
                case steps.Shred():
                    await work.shred(step)
                case _:
                    raise RuntimeError(f"a plan named {type(step).__name__}, which nobody executes")
        finally:
            if work.relist:
                scope.listed = False

    async def _report(self, scope: Scope, view: View) -> None:
        """Write the statuses that differ, and announce what a person should hear of."""
        failures: list[ByokError] = []
        # As they are in the view that the report rests on: by now the scope may hold newer ones, or none.
        sealables = {sealable.uid: sealable for sealable in view.sealables}

        async def one(patch: conditions.StatusPatch) -> None:
            if failures:
                return
            try:
                await self._write_status(scope, sealables.get(patch.meta.uid), patch)
            except ByokError as error:
                failures.append(error)
                return
            now, jitter = self._context.clock.monotonic(), self._context.jitter()
            scope.say(patch.meta.uid, patch.says, now, jitter)
            for text in patch.announce:
                await self._context.store.announce(patch.kind, patch.meta, text.reason, text.message)

        found = conditions.patches(view, self._context.now_text())
        some = [patch for _, patch in zip(range(SLICE), found, strict=False)]
        await self._context.in_flight(some, one)
        scope.last_report = self._context.clock.monotonic()
        if failures:
            raise failures[0]

    async def _write_status(self, scope: Scope, sealable: Sealable | None, patch: conditions.StatusPatch) -> None:
        if sealable is not None:
            await self._context.write(scope, sealable, dict(patch.status))
            return
        raw = await self._context.store.patch_status(patch.kind, patch.meta, patch.status)
        if patch.kind == RootKeyBinding.KIND:
            scope.see_binding(RootKeyBinding.of(raw))
        else:
            scope.see_instance(OpenScaleInstance.of(raw))

    def _failed(self, scope: Scope, subject: str, error: ByokError) -> None:
        if isinstance(error, (Changed, Missing)):
            scope.listed = False
        log.warning(
            "step failed",
            step=subject,
            namespace=scope.key[0],
            instance=scope.key[1],
            reason=error.reason.value,
            message=error.message,
            trace=error.trace,
        )
        scope.fail(scope.troubles, subject, error, self._context.clock.monotonic(), self._context.jitter())
        self._count_failure(scope.key, subject, error.reason)

    def _next_look(self, scope: Scope, view: View) -> float:
        """Seconds until something is due by itself."""
        dues = [failure.due for failure in (*scope.closed.values(), *scope.troubles.values())]
        dues += view.disputed.values()
        dues += [view.note(s).source_due for s, st in view.standings if needs_source(view, s, st)]
        dues += [view.note(s).hold_due for s in view.sealables if s.meta.ours]
        kept_until = shred_time(view)
        if kept_until is not None and view.today is not None and kept_until > view.today:
            dues.append(view.now + (kept_until - view.today).total_seconds())
        elif view.instance is not None and view.instance.metadata.deleting:
            scope.relist_due = min(scope.relist_due, view.now + RELIST_WHILE_DELETING_SECONDS)
        ahead = [due - view.now for due in (*dues, scope.relist_due) if due > view.now]
        return max(0.05, min(ahead, default=RELIST_SECONDS))
