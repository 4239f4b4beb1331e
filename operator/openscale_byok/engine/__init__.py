"""Observe, plan, execute: one instance at a time, in slices, with one writer each."""
