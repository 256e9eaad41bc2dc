from intake.app import NAME, build
from intake.settings import IntakeSettings
from shared.runtime.lifecycle import main

if __name__ == "__main__":
    main(NAME, IntakeSettings, build)
