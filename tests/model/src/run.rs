//! Runs: from a seed to an end, and from a failure to the shortest list of inputs that still fails.

use crate::books::Books;
use crate::check::{self, Sums};
use crate::input::{Input, story};
use crate::lies::{Liar, Lie, Row};
use crate::mirror::Mirror;
use crate::world::World;
use lango_core::message::PaymentRequest;
use lango_core::units::{Mac, Shillings};
use lango_relay::ledger::Key;
use lango_relay::payment::Payment;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a run is made, beside its inputs.
#[derive(Clone)]
pub struct Setting {
    /// From which a payment in the model's books is made.
    template: Payment,
    /// Whether the real ledger is driven beside the model's.
    pub mirror: bool,
    /// The bug that is planted.
    pub lie: Option<Lie>,
}

/// What a run that ended well went through.
#[derive(Debug, Default, Clone, Copy)]
pub struct Passed {
    /// Inputs, effects, messages and changes of the ledger.
    pub steps: u64,
    /// The money.
    pub sums: Sums,
    /// How often a lie was told.
    pub lies: u64,
}

/// A run that failed.
#[derive(Debug)]
pub struct Failed {
    /// The first inputs that fail.
    pub inputs: Vec<Input>,
    /// What was wrong.
    pub why: String,
    /// How often a lie was told.
    pub lies: u64,
}

/// A lie that was found.
#[derive(Debug)]
pub struct Found {
    /// In the run of this seed.
    pub seed: u64,
    /// It was told in so many runs until then.
    pub told: u64,
    /// As this.
    pub why: String,
}

impl Setting {
    /// The usual one.
    ///
    /// # Errors
    /// When the real ledger cannot make a payment.
    pub fn new(mirror: bool) -> anyhow::Result<Self> {
        let key = Key { router: "router-0".parse()?, order: "template".parse()? };
        let request = PaymentRequest {
            order: key.order.clone(),
            package: "hour".parse()?,
            label: "hour".to_owned(),
            amount: Shillings(10),
            phone: "0712345678".parse()?,
            device: Mac([2, 0, 0, 0, 0, 0]),
            asked_at: None,
        };
        Ok(Self { template: Mirror::template(&key, &request)?, mirror, lie: None })
    }

    /// One run.
    ///
    /// # Errors
    /// When it fails: with the inputs up to there.
    pub fn run(&self, seed: u64, inputs: &[Input]) -> Result<Passed, Failed> {
        let mut done = 0;
        let liar = Liar::new(self.lie);
        let outcome = catch_unwind(AssertUnwindSafe(|| self.story(seed, inputs, &mut done, &liar)));
        let why = match outcome {
            Ok(Ok(passed)) => return Ok(passed),
            Ok(Err(why)) => why,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "a panic".to_owned())
            }
        };
        Err(Failed { inputs: inputs[..done.min(inputs.len())].to_vec(), why, lies: liar.told() })
    }

    fn story(&self, seed: u64, inputs: &[Input], done: &mut usize, liar: &Liar) -> Result<Passed, String> {
        let names = ["router-0".parse().unwrap(), "router-1".parse().unwrap()];
        let mirror = self.mirror.then(|| Mirror::new(&names)).transpose().map_err(|error| format!("the real ledger: {error:#}"))?;
        // One relay with a ledger of its own, or two that share one: by the seed.
        let mut world = World::new(seed, if seed.is_multiple_of(3) { 1 } else { 2 }, Books::new(self.template.clone(), mirror), liar);
        for input in inputs {
            *done += 1;
            world.happens(*input)?;
            check::always(&world)?;
        }
        world.settle()?;
        check::always(&world)?;
        let sums = check::in_the_end(&mut world)?;
        Ok(Passed { steps: world.steps, sums, lies: liar.told() })
    }

    /// Drops inputs for as long as it still fails.
    #[must_use]
    pub fn shorten(&self, seed: u64, failed: Failed) -> Failed {
        let mut best = failed;
        let mut chunk = best.inputs.len().div_ceil(2);
        while chunk > 0 {
            let mut at = 0;
            let mut shorter = false;
            while at < best.inputs.len() {
                let mut fewer = best.inputs.clone();
                fewer.drain(at..(at + chunk).min(fewer.len()));
                match self.run(seed, &fewer) {
                    Err(failed) => (best, shorter) = (failed, true),
                    Ok(_) => at += chunk,
                }
            }
            if !shorter || chunk > 1 {
                chunk /= 2;
            }
        }
        best
    }

    /// Seed after seed with a lie in it, at most so many, until one of them is found by what it must be found by.
    ///
    /// # Errors
    /// With what was seen instead.
    pub fn finds(&self, row: &Row, seeds: u64) -> Result<Found, String> {
        let setting = Self { lie: Some(row.lie), ..self.clone() };
        let (mut told, mut instead) = (0, Vec::new());
        for seed in row.from..row.from + seeds {
            match setting.run(seed, &story(seed, length(seed))) {
                Ok(passed) => told += u64::from(passed.lies > 0),
                Err(failed) if failed.lies == 0 => return Err(format!("seed {seed} fails without a lie: {}", failed.why)),
                Err(failed) => {
                    told += 1;
                    if failed.why.contains(row.found_by) {
                        return Ok(Found { seed, told, why: failed.why });
                    }
                    instead.push(failed.why);
                }
            }
        }
        instead.sort();
        instead.dedup();
        instead.truncate(3);
        Err(format!("{:?} (told in {told} runs) is not found by \"{}\", but by {instead:#?}", row.lie, row.found_by))
    }

    /// The run of a seed; what fails is made short.
    ///
    /// # Errors
    /// When it fails.
    pub fn seed(&self, seed: u64) -> Result<Passed, Failed> {
        self.run(seed, &story(seed, length(seed))).map_err(|failed| self.shorten(seed, failed))
    }
}

/// How many inputs a seed's story has.
fn length(seed: u64) -> usize {
    40 + usize::try_from(seed % 5).unwrap_or(0) * 60
}

/// A failure as it is printed: how to run it again, and what happened.
#[must_use]
pub fn report(seed: u64, failed: &Failed) -> String {
    let mut text = format!(
        "seed {seed}: {}\n{} inputs (save these lines; `lango-model --seed {seed} --replay FILE` runs them):\n",
        failed.why,
        failed.inputs.len()
    );
    for input in &failed.inputs {
        text.push_str(&serde_json::to_string(input).unwrap_or_default());
        text.push('\n');
    }
    text
}
