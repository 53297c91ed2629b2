"""Data selection: texts that look like a target, and collections made smaller without losing an answer."""
