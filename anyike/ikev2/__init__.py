"""The IKEv2 protocol core (RFC 7296): pure, no I/O, no clock, no randomness of its own."""
