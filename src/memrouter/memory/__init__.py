"""Recall, ranking, context and conversation: what this project exists for."""
