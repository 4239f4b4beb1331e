"""Settings: right or refused by name, and a wrong value is never shown."""

import pytest
from pydantic import ValidationError

from openscale_byok.shell.gateway.settings import GatewaySettings
from openscale_byok.shell.settings import Settings

CANARY = "c4n4ry"
CRN = (
    "crn:v1:bluemix:public:kms:us-south:a/0123456789abcdef0123456789abcdef:"
    "11111111-2222-4333-8444-555555555555:key:00000000-0000-4000-8000-000000000001"
)
GUID = "0a1b2c3d-0000-4000-8000-000000000001"
WRONG = {
    "NAMESPACE": "", "NAMESPACES": f'["team-{CANARY}*"]', "GLOBAL_KEY_SECRET": "",
    "GLOBAL_ROOT_KEY": CANARY, "GLOBAL_ROOT_KEY_FORMER": f"{CRN}:{CANARY}",
    "GLOBAL_ROOT_KEY_SECRET": "", "GLOBAL_ROOT_KEY_ENDPOINT": f"ftp://{CANARY}",
    "IAM_URL": f"ftp://{CANARY}", "KEY_PROTECT_URL": f"//{CANARY}",
    "PROXY_URL": f"http://me:{CANARY}@proxy.example.com:3128", "NO_PROXY": f'["https://{CANARY}"]',
    "ALLOWED_INSTANCES": f'{{"{CANARY}": "team-a"}}',
    "MINIMUM_RETENTION_DAYS": "-1",
    "INSECURE_HTTP": CANARY,
    "TRUSTED_PROFILES": CANARY, "KEY_POLL_SECONDS": CANARY, "SOURCE_REFRESH_SECONDS": "0", "WRITES_IN_FLIGHT": "257",
    "INSTANCES_AT_ONCE": "0", "AUDIT_FILE": "", "AUDIT_CHAIN": CANARY, "LOG_LEVEL": CANARY, "LOG_FORMAT": CANARY,
}  # fmt: skip
RIGHT = {
    "NAMESPACE": ("byok", "byok"), "NAMESPACES": ('["team-a", "team-b", "team-a"]', ("team-a", "team-b")),
    "GLOBAL_KEY_SECRET": ("key", "key"),
    "GLOBAL_ROOT_KEY": (CRN, CRN), "GLOBAL_ROOT_KEY_FORMER": (CRN, CRN), "GLOBAL_ROOT_KEY_SECRET": ("s", "s"),
    "GLOBAL_ROOT_KEY_ENDPOINT": ("https://kp.example.com", "https://kp.example.com"),
    "IAM_URL": ("https://iam.example.com", "https://iam.example.com"), "INSECURE_HTTP": ("true", True),
    "KEY_PROTECT_URL": ("https://kp.example.com", "https://kp.example.com"),
    "PROXY_URL": ("https://[::1]:3128/", "https://[::1]:3128"),
    "NO_PROXY": ('["KP.example.com.", "*.private.example.com"]', ("kp.example.com", "*.private.example.com")),
    "PROXY_CREDENTIALS": ("/etc/proxy", "/etc/proxy"), "CA_BUNDLE": ("/etc/ca.crt", "/etc/ca.crt"),
    "ALLOWED_ENDPOINTS": ('["https://kp.example.com"]', ("https://kp.example.com",)),
    "ALLOWED_ROOT_KEYS": ('{"team-a": ["crn:v1:"]}', {"team-a": ("crn:v1:",)}),
    "ALLOWED_INSTANCES": (f'{{"{GUID}": "team-a", "*": "*"}}', {GUID: "team-a", "*": "*"}),
    "MINIMUM_RETENTION_DAYS": ("365", 365),
    "TRUSTED_PROFILES": ("true", True), "KEY_POLL_SECONDS": ("0.1", 0.1), "SOURCE_REFRESH_SECONDS": ("86400", 86_400.0),
    "WRITES_IN_FLIGHT": ("256", 256), "INSTANCES_AT_ONCE": ("1", 1),
    "AUDIT_FILE": ("/var/audit", "/var/audit"), "AUDIT_CHAIN": ("true", True), "LOG_LEVEL": ("debug", "debug"),
    "LOG_FORMAT": ("text", "text"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Only what a test sets."""
    for name in RIGHT:
        monkeypatch.delenv(f"OPENSCALE_BYOK_{name}", raising=False)
    return lambda name, value: monkeypatch.setenv(f"OPENSCALE_BYOK_{name}", value)


def test_every_setting_has_a_row():
    """The tables are about every setting, and each says what it is for."""
    assert {name.lower() for name in RIGHT} == set(Settings.model_fields)
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_value_counts(environment, name):
    """Each is read from its variable."""
    text, wanted = RIGHT[name]
    environment(name, text)
    assert getattr(Settings(), name.lower()) == wanted


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_refused_by_name(environment, name):
    """What is refused says which setting it is, and not what was put in: that may be a secret, misplaced."""
    environment(name, WRONG[name])
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert [error["loc"] for error in refused.value.errors()] == [(name.lower(),)]
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize("name", ["ALLOWED_ENDPOINTS", "NO_PROXY", "ALLOWED_ROOT_KEYS", "GATEWAY_NAMES"])
@pytest.mark.parametrize("given", [CANARY, f"{CANARY},b", f'["{CANARY}"', "[" * 100_000], ids=range(4))
def test_what_is_no_json_is_refused_by_name(environment, name, given):
    """A list with commas, as others have it, is refused with what is wanted, like any other wrong value."""
    environment(name, given)
    with pytest.raises(ValidationError, match=r"must be JSON, as in [\[{]") as refused:
        GatewaySettings()
    assert [error["loc"] for error in refused.value.errors()] == [(name.lower(),)]
    assert CANARY not in str(refused.value)


PLAIN = {
    "IAM_URL": f"http://{CANARY}", "KEY_PROTECT_URL": f"HTTP://{CANARY}", "GLOBAL_ROOT_KEY_ENDPOINT": f"http://{CANARY}",
    "ALLOWED_ENDPOINTS": f'["https://kp.example.com", "http://*.{CANARY}"]',
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_http_is_for_development_alone(environment, name):
    """API keys, tokens and data keys go over TLS, unless a setting says that this is no place for real ones."""
    environment(name, PLAIN[name].lower())
    with pytest.raises(ValidationError, match="INSECURE_HTTP") as refused:
        Settings()
    assert [error["loc"] for error in refused.value.errors()] == [(name.lower(),)]
    assert CANARY not in str(refused.value)
    environment("INSECURE_HTTP", "true")
    assert CANARY in str(getattr(Settings(), name.lower()))


@pytest.mark.parametrize(
    "url",
    ["proxy.example.com:3128", "socks5://p:1", "http://", "http://p:x", "http://p/path", "http://p?q", "http://u@p"],
)
def test_what_is_no_proxy_is_told_so_in_a_sentence(environment, url):
    """With the shape that is wanted, and where a user name and a password belong."""
    environment("PROXY_URL", url)
    with pytest.raises(ValidationError, match=r"must be http://HOST:PORT or https://HOST:PORT.*PROXY_CREDENTIALS"):
        Settings()


def test_without_any_it_starts():
    """The defaults are whole: nothing but the global key and IBM's own endpoints."""
    settings = Settings()
    assert not settings.trusted_profiles
    assert settings.policy().root_keys == {}
    assert settings.iam_url.startswith("https://")


def test_they_reach_what_they_are_for(environment):
    """The numbers go to the engine, the allow-lists to the policy."""
    for name, (text, _) in RIGHT.items():
        environment(name, text)
    tuning, policy = Settings().tuning(), Settings().policy()
    assert (tuning.key_poll_seconds, tuning.source_refresh_seconds) == (0.1, 86_400.0)
    assert (tuning.writes_in_flight, tuning.instances_at_once) == (256, 1)
    way = Settings().way()
    assert (way.proxy, way.direct[0]) == ("https://[::1]:3128", "kp.example.com")
    assert (way.credentials, way.ca_bundle) == ("/etc/proxy", "/etc/ca.crt")
    assert (policy.endpoints, policy.default_endpoint) == (("https://kp.example.com",), "https://kp.example.com")
    assert (policy.root_keys, policy.trusted_profiles) == ({"team-a": ("crn:v1:",)}, True)


def test_they_do_not_change():
    """What was read at the start holds to the end."""
    with pytest.raises(ValidationError):
        Settings().namespace = "other"
