//! How our table stands in the kernel, and what is to be done so that it is there with our rules.

use super::kernel::Kernel;
use super::nft::{delete_chain, delete_table};
use super::transaction::Preparation;
use super::{Gate, GateConfig, GateError, Whole, cannot, events::somebody_listens, garden, ruleset};
use crate::clock;

/// How our table stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Missing,
    /// Another version's, whose sets are not ours; or one in which accounts are lacking, since the daemon was killed before all of them
    /// were in.
    Foreign,
    /// Ours; the rules may have to be replaced.
    Ours {
        rules_current: bool,
    },
}

impl Gate {
    /// Whether the table that is in the kernel has accounts in force that [`Gate::reconcile`] replaces with it: nobody loses a packet by that
    /// while no [`super::GateEvents`] are open, however many there are.
    #[must_use]
    pub fn is_to_be_replaced(&self) -> bool {
        self.table == Table::Foreign
    }

    /// Puts in what is missing of table and rules; without what this kernel lacks, where the gate can do without it.
    pub(super) fn install(&mut self) -> Result<(), GateError> {
        let wanted = self.config.clone();
        let mut first = None;
        for (learn, whole) in ways(&wanted) {
            (self.config.learn, self.config.whole) = (learn, whole);
            let requests = self.preparation().into_requests();
            match self.kernel.transact(requests.iter()) {
                Ok(()) => {
                    self.say_what_is_lacking(&wanted);
                    return Ok(());
                }
                Err(refused) => drop(first.get_or_insert(refused.error)),
            }
        }
        self.config = wanted;
        Err(first.map_or(GateError::TableGone, cannot("install the rules")))
    }

    pub(super) fn say_what_is_lacking(&self, wanted: &GateConfig) {
        if wanted.whole != Whole::No && self.config.whole == Whole::No {
            log::warn!(
                "gate: this kernel cannot keep customers' connections out of flowtables: flow offloading must stay off, \
                 for what it forwards is neither counted nor limited"
            );
        }
        if wanted.learn && !self.config.learn {
            log::warn!("gate: this kernel has no packet log: new addresses are learnt from ARP and neighbour discovery alone");
        }
    }

    /// How our table stands, and whether its rules mark packets with classes.
    pub(super) fn look(kernel: &mut Kernel, config: &GateConfig) -> Result<(Table, bool), GateError> {
        let found = kernel.find().map_err(cannot("look for our table"))?;
        let marked = found.comments.contains(ruleset::MARKING);
        let current = || {
            let (comment, count) = ruleset::expected(config, marked);
            found.comments.contains(&comment) && found.rules == count
        };
        Ok(match &found.frame {
            None => (Table::Missing, false),
            Some(comment) if *comment != ruleset::frame_comment() => (Table::Foreign, false),
            Some(_) if found.comments.contains(ruleset::UNFINISHED) => (Table::Foreign, false),
            Some(_) => (Table::Ours { rules_current: current() }, marked),
        })
    }

    /// What must be done to the table before accounts can be put in.
    pub(super) fn preparation(&mut self) -> Preparation {
        let mut frame = Vec::new();
        match self.table {
            Table::Ours { rules_current: true } => return Preparation::default(),
            Table::Ours { rules_current: false } => {
                let mut rules = ruleset::replace_rules(&self.config);
                // There may be accounts with classes, which nothing is to change.
                rules.extend(ruleset::marking());
                return Preparation::of_rules(rules);
            }
            Table::Foreign => {
                if let Err(refused) = self.kernel.transact(ruleset::leaving().iter()) {
                    log::debug!("gate: what is left of the table may refuse a packet while it is replaced: {}", refused.error);
                }
                // A chain that is deleted goes on with its rules until the kernel, which does what it was asked in order, comes to it. Where that
                // is after thousands of objects, what it finds meanwhile are maps that are empty already, and it refuses who has paid.
                let chains = self.kernel.base_chains().unwrap_or_default();
                frame.extend(chains.iter().map(|name| delete_chain(name)));
                frame.push(delete_table());
            }
            Table::Missing => {}
        }
        frame.extend(ruleset::frame());
        frame.extend(garden::put_back(&self.garden, clock::monotonic()));
        // Everybody passes while there is none: a part that stops who is not known comes sooner than one transaction of all.
        let unheard = self.table == Table::Foreign && !somebody_listens();
        Preparation::new(frame, ruleset::rules(&self.config), unheard)
    }

    /// What was to be prepared is done.
    pub(super) fn rules_are_in_place(&mut self) {
        if self.table != (Table::Ours { rules_current: true }) {
            self.marked |= matches!(self.table, Table::Ours { .. });
            self.table = Table::Ours { rules_current: true };
            self.departed.rules_replaced();
        }
    }
}

/// What the kernel may lack, in the order in which it is given up. The first is what is wanted: on a kernel that took it before,
/// nothing is tried in vain.
pub(super) fn ways(wanted: &GateConfig) -> impl Iterator<Item = (bool, Whole)> {
    let (learn, none) = (wanted.learn, wanted.whole == Whole::No);
    let objects =
        if wanted.whole == Whole::Older { [Whole::Older, Whole::Newer, Whole::No] } else { [Whole::Newer, Whole::Older, Whole::No] };
    let all = [true, false].into_iter().flat_map(move |learn| objects.map(|whole| (learn, whole)));
    all.filter(move |way| (learn || !way.0) && (!none || way.1 == Whole::No))
}
