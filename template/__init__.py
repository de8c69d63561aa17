"""What turns this template into a service (`make new`), and leaves with it."""
