"""What every process needs: settings, log, metrics, health, database, time, lifecycle."""
