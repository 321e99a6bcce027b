"""Former names of commands that are now in `datasets`."""
