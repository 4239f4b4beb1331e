"""Data keys and envelopes: values in, values out; randomness is handed in."""
