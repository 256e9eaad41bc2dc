from shared.runtime.migrate import run_migrations

run_migrations()
