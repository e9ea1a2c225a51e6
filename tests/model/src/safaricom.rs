//! Safaricom as the model sees it: prompts, the money that really moved, and callbacks that wait to be posted.

use crate::input::Fate;
use crate::router::DAWN;
use lango_core::time::Wall;
use lango_core::units::{Msisdn, Receipt, Shillings};
use lango_relay::ledger::Key;

/// A prompt lives for so long, in milliseconds.
const PROMPT: u64 = 60_000;

/// What a customer will do with the next prompt of an order.
#[derive(Debug, Clone)]
pub struct Script {
    /// The result code that will come of it; 0: the money moves.
    pub code: &'static str,
    /// So long after the prompt came, in milliseconds.
    pub after: u64,
    /// What becomes of the callback.
    pub callback: Fate,
}

/// A prompt.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// For which payment: whose callback address it was given.
    pub key: Key,
    /// CheckoutRequestID.
    pub checkout: String,
    /// Who is prompted.
    pub phone: Msisdn,
    /// How much.
    pub amount: Shillings,
    /// The result, once there is one.
    pub code: Option<&'static str>,
    /// The receipt of the money, where it moved.
    pub receipt: Option<Receipt>,
    /// When the result came.
    pub ended_at: u64,
    script: Script,
    acts_at: u64,
    ends_at: u64,
}

/// A callback that waits to be posted.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which prompt's.
    pub prompt: usize,
    /// What it says.
    pub code: &'static str,
}

/// Money that somebody paid by hand.
#[derive(Debug, Clone)]
pub struct Hand {
    /// M-Pesa's receipt.
    pub receipt: Receipt,
    /// Who paid.
    pub phone: Msisdn,
    /// How much.
    pub amount: Shillings,
    /// When.
    pub at: Wall,
    /// What was typed as the account number.
    pub account: String,
    /// How much of the number is told: all of it, some digits, or nothing.
    pub shown: u8,
    /// Whether a relay has stored what Safaricom tells of it, or told it when it was asked.
    pub told: bool,
}

impl Hand {
    /// What Safaricom posts.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let digits = self.phone.digits();
        let number = match self.shown {
            0 | 1 => digits,
            2 => String::new(),
            _ => format!("{} ***** {}", &digits[..4], &digits[9..]),
        };
        // Kenya's time is three hours ahead.
        let time: String = Wall(self.at.0 + 3 * 3_600_000).to_rfc3339().chars().filter(char::is_ascii_digit).take(14).collect();
        let Self { receipt, amount, account, .. } = self;
        format!(
            r#"{{"TransID":"{receipt}","TransTime":"{time}","TransAmount":"{amount}.00","BusinessShortCode":"174379","BillRefNumber":"{account}","MSISDN":"{number}"}}"#
        )
        .into_bytes()
    }
}

/// Safaricom.
#[derive(Debug, Default)]
pub struct Safaricom {
    /// Money that was paid by hand, oldest first.
    pub hands: Vec<Hand>,
    /// What waits to be told of money without a prompt.
    pub tells: Vec<Hand>,
    /// Whether prompts' money is told as money without a prompt, too: with which account number, if so.
    pub tells_prompts: Option<fn(&Key) -> String>,
    /// All prompts, oldest first.
    pub prompts: Vec<Prompt>,
    /// What waits to be posted.
    pub calls: Vec<Call>,
}

impl Safaricom {
    /// Whether a prompt is open on that phone: then there can be no second.
    #[must_use]
    pub fn is_locked(&self, phone: Msisdn) -> bool {
        self.prompts.iter().any(|prompt| prompt.code.is_none() && prompt.phone == phone)
    }

    /// Puts a prompt on the phone; gives back its id.
    pub fn prompt(&mut self, key: &Key, phone: Msisdn, amount: Shillings, script: Script, now: u64) -> String {
        let checkout = format!("ws_CO_{:08}", self.prompts.len());
        self.prompts.push(Prompt {
            key: key.clone(),
            checkout: checkout.clone(),
            phone,
            amount,
            code: None,
            receipt: None,
            ended_at: now,
            acts_at: now + script.after,
            ends_at: now + PROMPT,
            script,
        });
        checkout
    }

    /// When a customer acts next, or a prompt ends.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        self.prompts.iter().filter(|prompt| prompt.code.is_none()).map(|prompt| prompt.acts_at.min(prompt.ends_at)).min()
    }

    /// Lets customers act whose time has come.
    pub fn pass(&mut self, now: u64) {
        for (number, prompt) in self.prompts.iter_mut().enumerate() {
            if prompt.code.is_some() || prompt.acts_at.min(prompt.ends_at) > now {
                continue;
            }
            let code = if prompt.acts_at <= prompt.ends_at { prompt.script.code } else { "1037" };
            prompt.code = Some(code);
            prompt.ended_at = now;
            if code == "0" {
                prompt.receipt = format!("R{number:09}").parse().ok();
                if let (Some(account), Some(receipt)) = (self.tells_prompts, prompt.receipt.clone()) {
                    let (phone, amount) = (prompt.phone, prompt.amount);
                    self.tells.push(Hand {
                        receipt,
                        phone,
                        amount,
                        at: Wall(DAWN + now),
                        account: account(&prompt.key),
                        shown: 3,
                        told: false,
                    });
                }
            }
            let call = |code| Call { prompt: number, code };
            match prompt.script.callback {
                Fate::Once => self.calls.push(call(code)),
                Fate::Twice => self.calls.extend([call(code), call(code)]),
                Fate::Never => {}
                Fate::AfterAnother => self.calls.extend([call("4999"), call(code)]),
            }
        }
    }

    /// What a query is answered; nothing where it has no answer.
    #[must_use]
    pub fn query(&self, checkout: &str) -> Option<&'static str> {
        self.prompts.iter().find(|prompt| prompt.checkout == checkout).map(|prompt| prompt.code.unwrap_or("4999"))
    }
}
