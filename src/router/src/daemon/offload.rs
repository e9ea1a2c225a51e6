//! Flow offload: looked for at the start and whenever a flowtable comes, changes or goes; told once a change.

use super::Daemon;
use crate::clock;
use crate::gate::SWITCH_OFFLOAD_OFF;
use lango_core::request::FlowOffload;

impl Daemon {
    /// Looks how it is now.
    pub(super) fn look_for_offload(&mut self) {
        let Some(gate) = &mut self.gate else { return };
        match gate.flow_offload() {
            Ok(found) => {
                if found != self.offload {
                    tell(found.as_ref());
                    if found.is_some() {
                        gate.flow_offload_came(clock::monotonic());
                    }
                }
                self.offload = found;
            }
            Err(cause) => log::warn!("gate: {cause}"),
        }
    }
}

fn tell(offload: Option<&FlowOffload>) {
    let Some(offload) = offload else { return log::info!("gate: flow offload is off again") };
    let devices: Vec<&str> = offload.devices.iter().map(String::as_str).collect();
    let (by, devices) = (offload.flowtables.join(", "), devices.join(", "));
    if offload.customers_kept_out {
        log::info!("gate: flow offload is on for {devices} ({by}); customers' connections are kept out of it, so that limits hold");
    } else {
        log::warn!(
            "gate: flow offload is on for {devices} ({by}), and this kernel cannot keep customers' connections out of it: what passes \
             there is not counted, and time and data limits are not exact. Switch it off: `{SWITCH_OFFLOAD_OFF}`"
        );
    }
}
