"""The RADIUS back end of the test gateway: it speaks AnyConnect EAP (and EAP-MSCHAPv2)."""
