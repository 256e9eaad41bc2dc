"""For tests only: time that moves by hand, events that say only what matters, and a look at a topic."""
