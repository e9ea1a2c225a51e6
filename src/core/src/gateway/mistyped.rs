//! What was typed and cannot be a code, a receipt or credentials at all: a wrong try of its device like any other, or a guesser would
//! be told first which of the guesses cost nothing.

use super::Gateway;
use crate::request::{Answer, Refusal, Typed};
use crate::time::Now;
use crate::units::Mac;

impl Gateway {
    /// Counts it for the device alone: it is no guess at anything, and no neighbour is held to less for it.
    pub(super) fn mistyped(&mut self, device: Mac, what: Typed, now: Now) -> Answer {
        let at = now.monotonic;
        let may = match what {
            Typed::Voucher => self.voucher_tries.check(device, at),
            Typed::Receipt => self.reclaims.check(device, at),
            Typed::Credentials => self.login_tries.check(device, at),
        };
        if let Err(retry_after) = may {
            return Answer::Refused(Refusal::TooManyRequests { retry_after });
        }
        Answer::Refused(match what {
            Typed::Voucher => {
                self.voucher_tries.count_alone(device, at);
                Refusal::UnknownVoucher
            }
            Typed::Receipt => {
                self.reclaims.count(device, at);
                Refusal::UnknownReceipt
            }
            Typed::Credentials => {
                self.login_tries.count(device, at);
                Refusal::BadCredentials
            }
        })
    }
}
