"""EAP (RFC 3748) as a peer: packets, the peer's side of a conversation, and what a method has to offer."""
