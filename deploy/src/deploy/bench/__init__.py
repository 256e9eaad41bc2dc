"""What the system does per second and per event, beside a plain loop in the same run (`make bench`)."""
