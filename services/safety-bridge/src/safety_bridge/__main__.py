from safety_bridge.app import NAME, build
from safety_bridge.settings import SafetyBridgeSettings
from shared.runtime.lifecycle import main

if __name__ == "__main__":
    main(NAME, SafetyBridgeSettings, build)
