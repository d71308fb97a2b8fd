"""What runs inside the gateway's container beside charon and the RADIUS server."""
