"""What two services must agree on: the words, the policy, the events, and how they are delivered."""
