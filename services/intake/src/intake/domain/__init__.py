"""Is this post a fact we accept, new or known, and which event is it? Pure."""
