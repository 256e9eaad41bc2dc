from notifier.app import NAME, build
from notifier.settings import NotifierSettings
from shared.runtime.lifecycle import main

if __name__ == "__main__":
    main(NAME, NotifierSettings, build)
