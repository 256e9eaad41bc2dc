"""What the router does about each event (`tickets`), and the same once more without consequences (`rehearsal`)."""
