"""Other memories from the package registry; each script here runs in an environment of its own.

A script is started with the URL of an embedding endpoint and a folder to write in. It reads
requests as JSON lines and answers each with one: `{"op": "remember", "history", "turns"}`, where a
turn has `text`, `role` and `session`, and `{"op": "search", "history", "question", "limit"}`, whose
answer has the `places` of turns, best first.
"""
