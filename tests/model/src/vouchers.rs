//! Vouchers as those know them who sell them: which codes were made for which router, and which of them somebody was told became
//! service.

use lango_core::step::Entropy;
use lango_core::units::RouterName;
use lango_core::voucher::{BatchId, VoucherCode, VoucherHash};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// A code that was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// The code.
    pub code: VoucherCode,
    /// What is kept of it.
    pub hash: VoucherHash,
    /// For which router.
    pub router: usize,
    /// Whether the maker was told that it is kept; the cloud's always are, once they are in its outbox.
    pub kept: bool,
    /// How often a customer was told that it became service.
    pub redeemed: u32,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Vouchers {
    /// Codes, the oldest first.
    pub made: Vec<Made>,
    /// Batches, the oldest first.
    pub batches: Vec<(usize, BatchId)>,
}

/// The n-th code that a run makes, and a batch's name by the same number.
#[must_use]
pub fn code(n: usize, router: &RouterName) -> (VoucherCode, VoucherHash) {
    // A hash costs as much as a thousand steps of the model: it is made once for all runs.
    static KNOWN: Mutex<BTreeMap<(usize, String), VoucherHash>> = Mutex::new(BTreeMap::new());
    let code = VoucherCode::from_entropy(&numbered(n)).expect("enough usable bytes");
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let hash = *known.entry((n, router.to_string())).or_insert_with(|| code.hash(router));
    (code, hash)
}

/// The name of the n-th batch.
#[must_use]
pub fn batch(n: usize) -> BatchId {
    BatchId::from_entropy(&numbered(n))
}

/// Bytes that differ for different numbers below 900, at both ends, and are all good for a code.
fn numbered(n: usize) -> Entropy {
    let (low, high) = (u8::try_from(n % 30).unwrap_or(0), u8::try_from(n / 30 % 30).unwrap_or(0));
    Entropy(std::array::from_fn(|place| if place % 2 == 0 { low } else { high }))
}
