"""An operator that lets a customer hold the key to everything an IBM Watson OpenScale instance stores.

The words used here, and no others:

root key
    The key-encrypting key (KEK): a customer's key in Key Protect, named by its CRN, or the global key.
global key
    The operator's own KEK, versioned; it protects what no binding protects.
data key
    The data-encrypting key (DEK): 32 bytes, one *active* one per instance. Only its wrapped form is stored.
wrap / unwrap / rewrap
    Data key to and from ciphertext under a root key; rewrap: to the newest version of the *same* root key.
seal / open
    Secret to and from an *envelope* under a data key.
context
    What a secret is and where it may go; authenticated in the envelope.
properties
    ``OpenScaleInstance.status.properties``: the root key in force and the list of data keys.
source
    The Secret that a password is first read from; a *hand-over* source is consumed once it is sealed.
re-encrypt
    Open with the old data key, seal with the new active one. Rewrap is not re-encryption.
release
    Let a binding go: nothing needs its root key any more.
stuck
    A secret whose data key cannot be unwrapped now.
"""

__version__ = "0.2.0"
