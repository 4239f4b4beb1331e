"""Formats of the gateway's OpenAPI document, for schemathesis: texts of these formats are what the test made ready.

Loaded by schemathesis itself; which texts, is in the environment.
"""

import json
import os

import schemathesis
from hypothesis import strategies as st

for name, texts in json.loads(os.environ["FORMATS"]).items():
    schemathesis.openapi.format(name, st.sampled_from(texts))
