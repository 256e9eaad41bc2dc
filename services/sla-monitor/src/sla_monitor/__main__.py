from shared.runtime.lifecycle import main
from sla_monitor.app import NAME, build
from sla_monitor.settings import SlaMonitorSettings

if __name__ == "__main__":
    main(NAME, SlaMonitorSettings, build)
