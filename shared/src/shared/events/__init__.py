"""The message contracts, one module per topic. `topics` is the map; `envelope` says how a record looks on the wire."""
