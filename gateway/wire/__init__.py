"""HTTP and WebSocket on sockets: request heads, the upgrade, frames and transports."""
