"""At-least-once made harmless. Read in this order: unit_of_work, consumer, inbox, outbox, dead_letter, second_try, kafka."""
