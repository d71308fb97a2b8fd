"""How this machine answers what a gateway asks during a login."""
