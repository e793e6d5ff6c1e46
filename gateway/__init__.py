"""The edge: terminates WebSockets, authenticates, validates, relays. Keeps no state that cannot be rebuilt."""
