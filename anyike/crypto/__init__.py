"""Cryptography: the only package that imports `cryptography`. Pure: no clock, no random source of its own."""
