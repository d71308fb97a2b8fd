"""ESP (RFC 4303) in pure functions and small state objects: packets, replay window, security associations."""
