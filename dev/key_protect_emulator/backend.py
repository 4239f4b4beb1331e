"""The running emulator, without HTTP: the world and everything that watches over it."""

import secrets
import uuid
from dataclasses import dataclass, field

from key_protect_emulator.clock import Clock
from key_protect_emulator.counts import Counts, RequestLog
from key_protect_emulator.faults import Faults
from key_protect_emulator.iam import TokenMint, new_signing_key
from key_protect_emulator.state import StateFile
from key_protect_emulator.world import Account, ApiKey, Grant, Identity, Instance, World

REGION = "us-south"


@dataclass
class Backend:
    world: World
    mint: TokenMint
    clock: Clock
    file: StateFile | None = None
    url: str = ""
    remote_control: bool = False
    dirty: bool = False
    faults: Faults = field(default_factory=Faults)
    counts: Counts = field(default_factory=Counts)
    log: RequestLog = field(default_factory=RequestLog)

    @property
    def issuer(self) -> str:
        return f"{self.url}/identity"

    def save(self) -> None:
        """Write the world if it changed. Called before every answer: what is acknowledged is stored."""
        if self.dirty:
            self.world.clock_offset = self.clock.offset
            if self.file:
                self.file.save(self.world)
            self.dirty = False


def open_backend(file: StateFile | None) -> Backend:
    """The stored world, or a new one with an account, an instance and an admin's API key."""
    world = file.load() if file else None
    fresh = world is None
    if world is None:
        world = World(signing_key_pem=new_signing_key())
    backend = Backend(world, TokenMint(world.signing_key_pem), Clock(world.clock_offset), file)
    if fresh:
        _bootstrap(backend)
    return backend


def _bootstrap(backend: Backend) -> None:
    world = backend.world
    account = new_account(world, "bootstrap")
    instance = new_instance(world, account.id, "bootstrap", REGION, backend.clock.now())
    admin = new_identity(world, account.id, "admin", "ServiceId")
    for role in ("Manager", "KeyPurge"):
        world.grants.append(Grant(admin.id, account.id, role))
    world.bootstrap = {
        "account": account.id,
        "instance": instance.id,
        "service_id": admin.id,
        "api_key": new_api_key(world, admin.id).value,
    }
    backend.dirty = True
    backend.save()


def new_account(world: World, name: str) -> Account:
    account = Account(secrets.token_hex(16), name)
    world.accounts[account.id] = account
    return account


def new_instance(world: World, account: str, name: str, region: str, now: float) -> Instance:
    instance = Instance(str(uuid.uuid4()), account, region, name, now)
    world.instances[instance.id] = instance
    return instance


def new_identity(world: World, account: str, name: str, kind: str) -> Identity:
    who = Identity(f"{kind}-{uuid.uuid4()}", account, name, kind)
    world.identities[who.id] = who
    return who


def new_api_key(world: World, identity: str) -> ApiKey:
    api_key = ApiKey(f"ApiKey-{uuid.uuid4()}", identity, secrets.token_urlsafe(33))
    world.api_keys[api_key.id] = api_key
    return api_key
