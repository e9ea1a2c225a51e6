//! Our root before anybody needs it: putting one in stops the interface for a moment.

use super::kernel::{self, Root};
use super::{Gate, Speeds};
use lango_core::tree::BTreeMap;

impl Speeds {
    /// Makes our root on each interface that has the system's own.
    fn make_roots(&mut self) {
        let changed = self.forget_changed();
        self.look();
        for interface in &mut self.interfaces {
            let Root::Default { index } = interface.root else { continue };
            interface.root = match kernel::make_root(&mut self.socket, index) {
                Ok(()) => Root::Ours { index, classes: BTreeMap::new() },
                Err(error) => {
                    let name = &interface.name;
                    log::error!(
                        "speeds: not held on {name}: {error}; the kernel needs HTB (kmod-sched-core on OpenWrt), then restart lango"
                    );
                    Root::Off { index }
                }
            };
        }
        // Whoever is online has a class there, too.
        if changed {
            self.look_again();
        }
    }
}

impl Gate {
    /// Readies the interfaces for speeds, because somebody will buy one: to be called when a package has a speed, at the start and when
    /// an interface came up since.
    /// While the kernel exchanges an interface's root it drops what is to be sent there (`dev_deactivate` in `net/sched`, until the
    /// processors have seen it: microseconds to tens of milliseconds). Done at the first purchase, that costs customers packets.
    pub fn expect_speeds(&mut self) {
        self.speeds.make_roots();
    }
}
