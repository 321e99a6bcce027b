"""Scripts that measure or draw for the docs. They may import everything; nothing imports them."""
