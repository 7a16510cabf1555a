"""Provider dialects: how each one writes prompts and replies. Pure."""
