"""Exchanges: each builds its requests and judges the responses; none knows message IDs, fragments or timers."""
