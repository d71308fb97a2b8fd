"""Data paths: how the negotiated CHILD_SA moves packets on Linux."""
