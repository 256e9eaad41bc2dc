from router.app import NAME, build
from router.settings import RouterSettings
from shared.runtime.lifecycle import main

if __name__ == "__main__":
    main(NAME, RouterSettings, build)
