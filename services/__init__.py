"""Further programs: the provisioner, the doctor, and the embedded stack with the command line."""
