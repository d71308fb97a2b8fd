"""anyike: an IKEv2 client for Linux that speaks AnyConnect EAP."""

__version__ = "0.1.0"
