"""Each rule of the engine is needed: with it taken out, its story fails.

A mutant is a copy of the package with one piece of text replaced. A piece that is not found any more fails
too: whoever changes a rule changes its mutant.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import openscale_byok

PACKAGE = Path(openscale_byok.__file__).parent
FRESH_INSTANCE = "        instance = await self._context.read_instance(self._scope)\n"


@dataclass(frozen=True)
class Mutant:
    """A rule taken out: in this module, this text becomes that."""

    story: str
    module: str
    text: str
    instead: str
    stories: str = "test_rules.py"


MUTANTS = {
    "no check after the seal": Mutant(
        "the_check_after_the_seal",
        "engine/seal_steps.py",
        FRESH_INSTANCE + "        active = instance.properties.active\n",
        "        instance = self._scope.instance\n        active = instance.properties.active\n",
    ),
    "the check asks for recorded": Mutant(
        "the_check_is_for_active",
        "engine/seal_steps.py",
        "s.envelope.data_key == active.id",
        "instance.properties.find(s.envelope.data_key)",
    ),
    "a delete without precondition": Mutant(
        "the_precondition_of_the_delete",
        "engine/handovers.py",
        "            await self._context.sources.delete(",
        "            source = await self._context.sources.read(held.meta.namespace, name)\n"
        "            await self._context.sources.delete(",
    ),
    "a delete without the finalizer": Mutant(
        "the_object_is_held_while_its_source_is_deleted",
        "engine/handovers.py",
        "                held, asked = await self._prove(sealable)\n",
        "                held, asked = sealable, self._context.clock.monotonic()\n",
        "test_handover.py",
    ),
    "a finalizer on whatever has the name": Mutant(
        "the_finalizer_comes_by_the_state_that_was_checked",
        "engine/context.py",
        "            raw = await self.store.patch_finalizers(sealable.kind, sealable.meta, finalizers)\n",
        "            from openscale_byok.resources import Meta\n"
        "            cluster = self.store._cluster\n"
        "            def patch():\n"
        "                raw = cluster.get(sealable.kind, sealable.meta.namespace, sealable.meta.name)\n"
        "                meta = Meta.of(raw['metadata'])\n"
        "                return cluster.patch_finalizers(sealable.kind, meta, finalizers)\n"
        "            raw = await self.store._process.ask('patch finalizers b', patch)\n",
        "test_handover.py",
    ),
    "a further attempt without a proof": Mutant(
        "a_further_attempt_begins_with_a_proof",
        "engine/handovers.py",
        "            sealable = await self._hold(sealable)\n",
        "            sealable = sealable if sealable.meta.ours else await self._hold(sealable)\n",
        "test_handover.py",
    ),
    "a further attempt without a proof, etcd put back": Mutant(
        "etcd_is_put_back_between_two_attempts",
        "engine/handovers.py",
        "            sealable = await self._hold(sealable)\n",
        "            sealable = sealable if sealable.meta.ours else await self._hold(sealable)\n",
        "test_handover.py",
    ),
    "a version is taken for the object": Mutant(
        "etcd_is_put_back_between_two_attempts",
        "engine/handovers.py",
        " or not _same(sealable, found):",
        ":",
        "test_handover.py",
    ),
    "a proof of any age": Mutant(
        "who_slept_proves_it_once_more",
        "engine/handovers.py",
        "asked <= PROVEN_SECONDS",
        "asked >= 0",
        "test_handover.py",
    ),
    "what is given up is free at once": Mutant(
        "a_delete_on_its_way_finds_its_object",
        "engine/handovers.py",
        "        if now >= end or await self._over(sealable):\n",
        "        if now >= since:\n",
        "test_handover.py",
    ),
    "another operator's delete is forgotten": Mutant(
        "another_operator_frees_nothing_under_a_delete",
        "engine/handovers.py",
        "        if now >= end or await self._over(sealable):\n",
        "        if now >= since:\n",
        "test_handover.py",
    ),
    "who reads it is asked only before": Mutant(
        "a_second_reader_before_the_delete_keeps_the_source",
        "engine/handovers.py",
        "        if self._readers.waiting(held):\n",
        "        if False:\n",
        "test_handover.py",
    ),
    "a reader without an instance": Mutant(
        "one_that_names_no_instance_keeps_no_source",
        "engine/readers.py",
        "            if scope.instance is None:\n                continue\n",
        "",
        "test_handover.py",
    ),
    "readers that were not listed yet": Mutant(
        "an_instance_that_was_not_read_yet_may_have_readers",
        "engine/readers.py",
        "            if not scope.read and scope.key[1] != sealable.instance and scope.instance is not None:\n",
        "            if False:\n",
        "test_handover.py",
    ),
    "a try that nobody asks for any more is told of": Mutant(
        "two_whose_mints_failed_settle_at_once",
        "core/conditions/instances.py",
        "    cause = failed(view) or",
        "    cause = view.trouble('mint', 'rebuild') or",
        "test_reviewed.py",
    ),
    "a write on what is newest, not on what was read first": Mutant(
        "the_source_is_read_after_its_object",
        "engine/context.py",
        "        try:\n            raw = await self.store.patch_status(",
        "        from dataclasses import replace\n"
        "        raw = self.store._cluster.get(sealable.kind, sealable.meta.namespace, sealable.meta.name)\n"
        "        version = raw['metadata']['resourceVersion']\n"
        "        sealable = replace(sealable, meta=sealable.meta.at(version))\n"
        "        try:\n            raw = await self.store.patch_status(",
    ),
    "bindings as they were known": Mutant(
        "a_fresh_list_of_bindings_before_a_mint",
        "engine/key_steps.py",
        "    listing = await context.store.bindings(*scope.key)\n"
        "    scope.list_bindings(listing.version, listing.items)\n"
        "    if not instance",
        "    if not instance",
    ),
    "a finalizer off before the write": Mutant(
        "the_instance_is_written_before_a_finalizer_comes_off",
        "engine/key_steps.py",
        '        await _write(context, scope, instance, {"releases": instance.properties.releases + 1})\n',
        "",
    ),
    "a binding that goes as a ground": Mutant(
        "a_binding_that_goes_is_no_ground",
        "core/findings.py",
        " and not other.metadata.deleting:",
        ":",
    ),
    "in force without finalizer": Mutant(
        "only_what_carries_our_finalizer_comes_into_force",
        "core/view.py",
        "if b.metadata.ours and view.key(b).wraps",
        "if view.key(b).wraps",
    ),
    "an unknown key overwritten": Mutant(
        "an_unknown_key_means_that_my_view_is_old",
        "engine/seal_steps.py",
        FRESH_INSTANCE + "        if known is None",
        "        instance = known\n        if known is None",
    ),
    "retired by what was known": Mutant(
        "the_list_is_begun_after_the_mark",
        "engine/key_steps.py",
        "    await context.list_marts(scope)\n    leaving",
        "    leaving",
    ),
    "re-encryption for the endpoint of now": Mutant(
        "re_encryption_redirects_nothing",
        "engine/seal_steps.py",
        "key, secret, given_for, {}, ",
        "key, secret, sealable.context, {}, ",
    ),
    "a lower TLS mode is served": Mutant(
        "less_proof_asks_for_the_password_anew[tls Require",
        "crypto/context.py",
        "    if TLS_MODES.index(now.tls) < TLS_MODES.index(given.tls):\n",
        "    if False:\n",
        "test_proofs.py",
    ),
    "other authorities are served": Mutant(
        "less_proof_asks_for_the_password_anew[a bundle of one's own",
        "crypto/context.py",
        "given.tls == CHECKED and given.ca != now.ca",
        "False",
        "test_proofs.py",
    ),
    "re-encryption for the proof of now": Mutant(
        "less_proof_asks_for_the_password_anew[another bundle",
        "engine/seal_steps.py",
        "key, secret, given_for, {}, ",
        "key, secret, sealable.context, {}, ",
        "test_proofs.py",
    ),
    "a v1 stays a v1": Mutant(
        "a_v1_is_bound_to_what_its_object_says_at_first_sight",
        "core/findings.py",
        " or (standing is Standing.CURRENT and sealable.unbound)",
        "",
        "test_proofs.py",
    ),
    "a v1 is bound to what its object says last": Mutant(
        "a_v1_that_does_not_open_yet_stays_what_it_was_at_first_sight",
        "engine/scope.py",
        "return found if known is None else found.after(known)",
        "return found",
        "test_proofs.py",
    ),
    "sealed for a bundle that cannot be read": Mutant(
        "nothing_is_sealed_or_served_with_a_bundle_that_cannot_be_read",
        "engine/source_looks.py",
        "if sealable.ca_trouble is not None:",
        "if False:",
        "test_proofs.py",
    ),
    "served with a bundle that cannot be read": Mutant(
        "a_broken_bundle_where_any_was_more_is_not_served_either",
        "core/sealable.py",
        "        if self.ca_trouble is not None:\n",
        "        if False:\n",
        "test_proofs.py",
    ),
    "the look is believed, not the wrap": Mutant(
        "a_rotation_between_two_looks",
        "engine/scope.py",
        "            if known is not None and known.look is not None:\n",
        "            if False:\n",
    ),
    "the look at the global key is believed, not the wrap": Mutant(
        "a_data_key_made_between_a_rotation_and_the_next_look_stays",
        "engine/scope.py",
        "for uid in [GLOBAL] if root_key == GLOBAL else uids:",
        "for uid in uids:",
        "test_global_key.py",
    ),
    "a data key is used as it was proven, not as it was recorded": Mutant(
        "a_version_that_goes_while_a_data_key_is_recorded",
        "engine/key_steps.py",
        "    if binding is not None:\n        # Under the global key",
        "    if binding is None:\n        context.data_keys.put(GLOBAL, proven)\n"
        "    else:\n        # Under the global key",
        "test_global_key.py",
    ),
    "a rotation of the global key is not followed": Mutant(
        "a_rotation_survives_a_crash_at_any_call",
        "core/minting.py",
        "        and not left\n",
        "",
        "test_global_key.py",
    ),
    "the other one is corrected at once": Mutant(
        "two_that_know_different_things_leave_each_other_alone",
        "engine/scope.py",
        "        self.said[uid] = ",
        "        times = 0\n        self.said[uid] = ",
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_without_a_rule_its_story_fails(name: str, tmp_path: Path) -> None:
    """The story of a rule is about that rule: it fails once the rule is gone."""
    mutant = MUTANTS[name]
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    module = tmp_path / PACKAGE.name / mutant.module
    text = module.read_text()
    assert text.count(mutant.text) == 1, f"{mutant.module} reads otherwise now: bring this mutant up to date"
    module.write_text(text.replace(mutant.text, mutant.instead))
    story = f"{Path(__file__).with_name(mutant.stories)}::test_{mutant.story}" + ("]" if "[" in mutant.story else "")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", story, "-q", "-p", "no:cacheprovider", "--tb=line"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, f"the story does not notice:\n{done.stdout[-2000:]}{done.stderr[-1000:]}"
    assert " failed" in done.stdout
