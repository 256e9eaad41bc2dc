"""What state an incident is in, and who is paged next and when (S). Pure: no message, no table, no clock of its own."""
