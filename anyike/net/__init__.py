"""This machine's network: sockets, interfaces, addresses, routes, and how to undo them."""
