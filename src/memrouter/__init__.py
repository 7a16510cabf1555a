"""memrouter: a self-hosted memory router for LLM apps."""

__version__ = "0.1.0"
