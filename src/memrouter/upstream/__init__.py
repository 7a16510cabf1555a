"""Providers: where requests go, and how they get there."""
