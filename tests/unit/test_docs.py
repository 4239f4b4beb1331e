"""The docs say what the code says: reasons, settings, targets, links, manifests."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from openscale_byok.errors import Refused, Unavailable
from openscale_byok.reasons import TABLE, Reason
from openscale_byok.resources import API_VERSION, KINDS
from openscale_byok.shell.cli.agent import agent
from openscale_byok.shell.gateway.answers import REVOCATIONS, status_of
from openscale_byok.shell.gateway.openapi_parts import ERRORS
from openscale_byok.shell.gateway.settings import GatewaySettings
from openscale_byok.shell.settings import OperatorSettings, Settings

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/*.md", "helm/**/*.md", "dev/**/*.md", "tests/**/*.md")
    for path in ROOT.glob(pattern)
)
SETTINGS = GatewaySettings.model_fields | OperatorSettings.model_fields
PREFIX = Settings.model_config["env_prefix"]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name_of(path: Path) -> str:
    """A page as it is named in the repository."""
    return path.relative_to(ROOT).as_posix()


@cache
def text_of(path: Path) -> str:
    """A page's text."""
    return path.read_text(encoding="utf-8")


def tables(page: str) -> list[tuple[str, list[str]]]:
    """Each row of the tables of a page, with the heading that it is under; a row's cells without their padding."""
    found, heading = [], ""
    for line in text_of(ROOT / page).splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("|"):
            found.append((heading, [cell.strip() for cell in line.strip("|").split("|")]))
    return found


def code(cell: str) -> str:
    """What stands in a cell's backticks."""
    return cell.strip("`")


# Reasons -----------------------------------------------------------------------------------------------

SECTIONS = {
    "Well, or under way": ("Normal", False),
    "Waiting for something": ("Warning", False),
    "A person must act": ("Warning", True),
}


def test_each_reason_is_in_the_docs_as_the_table_has_it():
    """One row per reason: with the table's own meaning, and under the heading that says how it looks from outside."""
    rows = [(heading, cells) for heading, cells in tables("docs/key-lifecycle.md") if code(cells[0]) in set(Reason)]
    documented = {code(cells[0]): (*SECTIONS[heading], cells[1]) for heading, cells in rows}
    assert len(rows) == len(documented), "a reason is there twice"
    assert documented == {reason.value: (row.event, row.stalled, row.meaning) for reason, row in TABLE.items()}


def test_each_reason_says_what_to_do():
    """Nobody who looks a reason up is left without an answer, and no row is left over from a former reason."""
    rows = [
        cells for heading, cells in tables("docs/key-lifecycle.md") if heading in SECTIONS and cells[0].startswith("`")
    ]
    assert all(len(cells) == 3 and cells[2] for cells in rows)
    assert {code(cells[0]) for cells in rows} == {reason.value for reason in Reason}


STATES = ("The root key's state", "When a binding, an instance or a root key is taken away")
CONDITIONS = {"Ready", "Reconciling", "Stalled", "KeyUsable", "Encrypted", "Sealed", "SourceRemoved"}


def test_what_the_state_tables_show_can_be_seen():
    """Each word in the column `what you see` is a reason or a condition: nothing is called otherwise."""
    rows = [cells for heading, cells in tables("docs/key-lifecycle.md") if heading in STATES]
    assert {heading for heading, _ in tables("docs/key-lifecycle.md")} >= set(STATES)
    assert all(len(cells) == 4 and all(cells) for cells in rows)
    words = {word for cells in rows for word in re.findall(r"`([A-Z]\w+)(?:=\w+)?`", cells[1])}
    assert words <= {reason.value for reason in Reason} | CONDITIONS
    tests = "".join(text_of(path) for path in (ROOT / "tests/cluster").glob("test_*.py"))
    assert not {word for word in words if f'"{word}"' not in tests}, "no test on a real API server produces it"


PASSING = {
    Reason.SEALING: "tests/stories/test_opening.py",
    Reason.CHANGED_MEANWHILE: "tests/stories/test_opening.py",
    Reason.CLUSTER_UNAVAILABLE: "tests/stories/test_rules.py",
}
"""They pass in a moment, or are for the log alone: what shows them is not the API server."""
OF_THE_GATEWAY = {
    Reason.CERTIFICATE_INVALID, Reason.INVALID_REQUEST, Reason.NOT_ALLOWED, Reason.NOT_AUTHENTICATED,
    Reason.NOT_FOUND, Reason.NOT_OURS, Reason.PASSWORD_NOT_GIVEN, Reason.TOO_MANY_REQUESTS,
}  # fmt: skip
"""What only the gateway's answers say."""


def test_each_reason_is_produced_by_a_test():
    """On a real API server, but for those that pass in a moment; no row of the page is only believed."""
    tests = "".join(text_of(path) for path in (ROOT / "tests/cluster").glob("test_*.py"))
    others = set(Reason) - set(PASSING) - OF_THE_GATEWAY
    assert not {reason.value for reason in others if not re.search(rf"\b{reason.value}\b", tests)}
    assert not {r.value for r, page in PASSING.items() if f"Reason.{r.name}" not in text_of(ROOT / page)}


# The gateway's answers ---------------------------------------------------------------------------------


def test_each_status_is_in_the_docs_as_the_gateway_answers_it():
    """The page's table has every status of an error, and each reason beside it is answered with that status; every
    reason that revokes is named."""
    rows = [cells for heading, cells in tables("docs/api.md") if heading == "When it does not work"][2:]
    statuses = {int(found) for cells in rows for found in re.findall(r"\b[45]\d\d\b", cells[0])}
    assert statuses == {*ERRORS, 405, 431}
    for cells in rows:
        shown = {Reason(word) for word in re.findall(r"`([A-Z]\w+)`", cells[1])}
        revoked = "Revoked" in cells[0]
        if revoked:
            assert shown == REVOCATIONS
        if cells[0][:3] in ("400", "401", "403", "409", "429"):
            assert {status_of(Refused(reason, "")) for reason in shown} == {int(cells[0][:3])}
        if cells[0] == "503":
            assert {status_of(Unavailable(reason, "")) for reason in shown} == {503}


# The threat model --------------------------------------------------------------------------------------


def test_each_abuse_case_names_a_test_that_exists():
    """Whoever reads that something is refuted can run what refutes it."""
    rows = [cells for heading, cells in tables("docs/threat-model.md") if cells[-1].startswith("`tests/")]
    assert len(rows) > 50
    for cells in rows:
        path, _, name = code(cells[-1]).partition("::")
        assert re.search(rf"^ *(async )?def {name}\(", text_of(ROOT / path), re.MULTILINE), cells[-1]


# Settings ----------------------------------------------------------------------------------------------


def as_environment(value: object) -> str:
    """A default as one would write it into the environment."""
    if isinstance(value, str):
        return value or '""'
    return json.dumps(value)


def test_each_setting_is_in_the_docs_with_its_default():
    """Every setting of the operator is documented under the name of its variable, with the default that it has."""
    rows = [cells for _, cells in tables("docs/settings.md") if code(cells[0]).startswith(PREFIX)]
    documented = [(code(cells[0]), code(cells[1])) for cells in rows]
    assert documented == [
        (PREFIX + name.upper(), as_environment(found.get_default(call_default_factory=True)))
        for name, found in SETTINGS.items()
    ]


def test_each_setting_is_documented_with_its_bounds():
    """A numeric setting's bounds in the docs are those that it is checked against."""
    bounds = {code(cells[0]): cells[2] for _, cells in tables("docs/settings.md") if code(cells[0]).startswith(PREFIX)}
    for name, found in SETTINGS.items():
        limits = {type(limit).__name__: limit for limit in found.metadata}
        if "Ge" in limits:
            assert bounds[PREFIX + name.upper()] == f"{limits['Ge'].ge} to {limits['Le'].le}"


def test_each_chart_value_that_is_named_exists():
    """A value of the chart that the settings' page names is one that the chart has."""
    values = yaml.safe_load((ROOT / "helm/openscale-byok/values.yaml").read_text())
    named = [code(cells[3]) for _, cells in tables("docs/settings.md") if len(cells) == 5 and "." in cells[3]]
    assert named
    for path in named:
        found = values
        for part in path.split("."):
            assert part in found, path
            found = found[part]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_names_a_setting_that_is_not_there(page):
    """A variable of ours that a page names is a setting."""
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]+[A-Z]\b", text_of(page)))
    assert named <= {PREFIX + name.upper() for name in SETTINGS} | set(agents_variables().values())


def agents_variables() -> dict[str, str]:
    """The variable of each option of the agent."""
    prefix = f"{agent.context_settings['auto_envvar_prefix']}_"
    return {one.opts[0]: str(one.envvar or prefix + str(one.name).upper()) for one in agent.params}


def test_each_option_of_the_agent_is_in_the_docs_with_its_default():
    """Every option, with its variable and the default that it has."""
    rows = [[code(cell) for cell in cells[:3]] for _, cells in tables("docs/agent.md") if cells[0].startswith("`--")]
    variables = agents_variables()
    with click.Context(agent) as context:
        defaults = {one.opts[0]: one.get_default(context) for one in agent.params}
    for name, value in defaults.items():
        if isinstance(value, float):
            defaults[name] = f"{value:g}"
        elif isinstance(value, bool):
            defaults[name] = str(value).lower()
    assert rows == [[name, variables[name], "" if unset(value) else str(value)] for name, value in defaults.items()]


def unset(value: object) -> bool:
    """Whether an option has no default."""
    return value is None or value == () or "UNSET" in repr(value)


# Pages -------------------------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """The anchors that a page's headings make."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", text_of(path)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    """A link inside the repository leads to a file, and its fragment to a heading of that file."""
    for target in _LINK.findall(_FENCE.sub("", text_of(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not fragment or fragment in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_exist(page):
    """A `make` command that a page shows is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z0-9-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    shown = set(re.findall(r"(?:^|`)make\s+([a-z][a-z0-9]+)", text_of(page), re.MULTILINE))
    assert shown <= targets


def test_every_decision_is_in_the_index():
    """The index of the decisions lists each record, once, by the title that it has, in its order."""
    folder = ROOT / "docs" / "adr"
    records = sorted(folder.glob("[0-9]*.md"))
    listed = re.findall(r"^\| \[(\d+)\]\((.*?)\) \| (.*) \|$", text_of(folder / "README.md"), re.MULTILINE)
    titles = [text_of(path).splitlines()[0].removeprefix("# ").split(". ", 1) for path in records]
    assert listed == [(number, path.name, title) for path, (number, title) in zip(records, titles, strict=True)]


def test_every_decision_weighs_alternatives():
    """A decision without at least two options to choose from is none."""
    for path in sorted((ROOT / "docs" / "adr").glob("[0-9]*.md")):
        headings = re.findall(r"^## (.*)$", text_of(path), re.MULTILINE)
        assert headings == ["Context", "Options", "Decision", "Consequences"], path.name
        options = text_of(path).split("## Options")[1].split("## Decision")[0]
        assert len(re.findall(r"^- \*\*", options, re.MULTILINE)) >= 2, path.name


# Manifests ---------------------------------------------------------------------------------------------

RBAC = "rbac.authorization.k8s.io/v1"
OTHERS = {("v1", "Secret"), ("v1", "ServiceAccount"), (RBAC, "Role"), (RBAC, "RoleBinding"), ("apps/v1", "Deployment")}
"""What a workload needs besides our kinds."""


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_an_example_is_one_object_for_any_namespace(path):
    """An example is one object, named, without a namespace; a Secret in it holds nothing."""
    (found,) = yaml.safe_load_all(path.read_text())
    assert (found["apiVersion"], found["kind"]) in {(API_VERSION, kind.KIND) for kind in KINDS} | OTHERS
    assert set(found["metadata"]) == {"name"}
    if found["kind"] == "Secret":
        assert not any(found["stringData"].values())


def test_the_examples_fit_together():
    """What an example refers to is another example."""
    found = [yaml.safe_load(path.read_text()) for path in EXAMPLES]
    there = {(one["kind"], one["metadata"]["name"]) for one in found}
    keys = {(one["metadata"]["name"], key) for one in found if one["kind"] == "Secret" for key in one["stringData"]}

    for name, inner in (field for one in found for field in fields(one)):
        if name == "instanceRef":
            assert ("OpenScaleInstance", inner["name"]) in there
        elif name == "serviceAccountName":
            assert ("ServiceAccount", inner) in there
        elif name == "resourceNames":
            assert {("DataMart", one) for one in inner} <= there
        elif name in ("roleRef", "subjects"):
            assert {(one["kind"], one["name"]) for one in (inner if name == "subjects" else [inner])} <= there
        elif name.lower().endswith("secretref"):
            assert (inner["name"], inner["key"]) in keys


def fields(value: object) -> Iterator[tuple[str, Any]]:
    """Every field of a document, at any depth."""
    if isinstance(value, list):
        for one in value:
            yield from fields(one)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name, inner
            yield from fields(inner)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_yaml_in_the_docs_parses(page):
    """A YAML block of a page is YAML; what it holds is asked of the API server in tests/cluster."""
    for language, block in _FENCE.findall(text_of(page)):
        if language == "yaml":
            assert list(yaml.safe_load_all(block))


def test_hooks_before_a_commit_come_from_the_virtual_environment():
    """No hook is fetched from anywhere: each runs what the locked requirements installed."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    assert {(hook["language"], hook["entry"].split("/")[0]) for hook in hooks} == {("system", ".venv")}
