"""Drills: they break things on purpose and check what memrouter promises; see README.md."""
