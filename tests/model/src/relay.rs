//! A relay of the model: the real rules (`lango_relay::payment`) and what the engine does around them, one thing at a time, so
//! that it can die between any two.

use crate::input::Trouble;
use lango_relay::ledger::Key;
use lango_relay::payment::PushAnswer;
use std::collections::BTreeSet;

/// Something that a relay has begun. It is forgotten when the relay dies.
#[derive(Debug, Clone)]
pub enum Task {
    /// Get a token and room, then claim the prompt.
    Prompt(Key),
    /// Send the prompt.
    Push(Key),
    /// Store what came of it.
    Pushed(Key, PushAnswer),
    /// Ask Safaricom.
    Query(Key, String, bool),
    /// Store what it said.
    Queried(Key, Option<String>, bool),
    /// Work on a stored callback.
    Callback(String),
    /// Work on what was posted of money without a prompt.
    Post(String),
    /// All that follows from a post is stored.
    PostDone(String),
    /// Ask Safaricom what became of a receipt, for a customer of this router with this number.
    Status(lango_core::units::Receipt, lango_core::units::RouterName, lango_core::units::Msisdn),
}

/// A relay.
#[derive(Debug, Default)]
pub struct Relay {
    /// Whether it runs.
    pub runs: bool,
    /// Whether the broker has it.
    pub connected: bool,
    /// Since when it runs.
    pub started_at: u64,
    /// When it died last.
    pub died_at: Option<u64>,
    /// What it has begun, and when.
    pub tasks: Vec<(u64, Task)>,
    /// Prompts that wait for a token.
    pub preparing: BTreeSet<Key>,
    /// What its next change of the ledger meets.
    pub trouble: Option<Trouble>,
    /// Whether it has asked, or need not ask, for what was missed before its start.
    pub asked: bool,
    /// Set when something that a router said could not be stored: since then.
    pub missed: Option<u64>,
}
