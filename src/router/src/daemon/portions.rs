//! Speeds are set in portions, between which everybody else is served: thousands take the kernel many seconds.

use crate::gate::Gate;
use std::time::Duration;
use tokio::time::Instant;

/// Others have so long after each portion, at least: enough for a question that is on its way to arrive.
const REST: Duration = Duration::from_millis(1);

/// Others have so long, at most: no flood of questions lets the speeds wait for ever.
const OVERDUE: Duration = Duration::from_millis(50);

/// When the next portion's turn is.
#[derive(Default)]
pub struct Portions {
    /// When the last one ended.
    last: Option<Instant>,
}

impl Portions {
    /// When it is its turn if there is nothing else to do.
    pub fn when_idle(&self, gate: Option<&Gate>) -> Option<Instant> {
        self.after(gate, REST)
    }

    /// When it is its turn whatever else there is to do.
    pub fn at_last(&self, gate: Option<&Gate>) -> Option<Instant> {
        self.after(gate, OVERDUE)
    }

    fn after(&self, gate: Option<&Gate>, time: Duration) -> Option<Instant> {
        gate.filter(|gate| gate.busy_with_speeds())?;
        Some(self.last.map_or_else(Instant::now, |last| last + time))
    }

    /// Deals with the next portion.
    pub fn go_on(&mut self, gate: Option<&mut Gate>) {
        if let Some(gate) = gate.filter(|gate| gate.busy_with_speeds()) {
            gate.go_on_with_speeds();
            self.last = Some(Instant::now());
        }
    }
}
