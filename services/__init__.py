"""Programs beside the gateway and presence: provisioner, doctor, and the embedded stack with its command line."""
