//! The customers' scripts: what one does with a prompt, and what becomes of Safaricom's own messages about it.

use std::time::Duration;

/// What a customer does with a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Types the PIN.
    Pays,
    /// Presses Cancel (1032).
    Cancels,
    /// Types a wrong PIN (2001).
    WrongPin,
    /// Has not got that much (1).
    NoMoney,
    /// Does not look (1037, when the prompt's time is over).
    NeverAnswers,
    /// Whatever else Safaricom may say.
    Code(u32),
}

impl Answer {
    /// Safaricom's result code for it.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::Pays => 0,
            Self::NoMoney => 1,
            Self::Cancels => 1032,
            Self::NeverAnswers => 1037,
            Self::WrongPin => 2001,
            Self::Code(code) => code,
        }
    }
}

/// When the customer answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// So long after the prompt came.
    After(Duration),
    /// When [`super::Safaricom::answer`] is called: by a person, or by a test.
    Asked,
}

/// What becomes of the answer to the push request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushAnswer {
    /// It arrives.
    Arrives,
    /// The prompt is made, but the connection breaks before the answer.
    Lost,
    /// Refused with "System is busy" so many times; no prompt is made then.
    BusyTimes(u32),
}

/// What becomes of the callback. Safaricom tries once and never again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It arrives.
    Once,
    /// It is never sent.
    Lost,
    /// It is sent twice.
    Twice,
    /// It is sent so long after the answer.
    Delayed(Duration),
    /// It waits for [`super::Safaricom::release_callbacks`].
    Held,
}

/// A customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Customer {
    /// What they do.
    pub answer: Answer,
    /// When.
    pub when: When,
    /// What becomes of the push answer.
    pub push: PushAnswer,
    /// What becomes of the callback.
    pub delivery: Delivery,
}

impl Customer {
    /// Does this at once, and everything arrives.
    #[must_use]
    pub const fn who(answer: Answer) -> Self {
        Self { answer, when: When::After(Duration::ZERO), push: PushAnswer::Arrives, delivery: Delivery::Once }
    }
    /// Pays so long after the prompt came.
    #[must_use]
    pub const fn pays_after(time: Duration) -> Self {
        Self { when: When::After(time), ..Self::who(Answer::Pays) }
    }
    /// A person, or a test, answers.
    #[must_use]
    pub const fn manual() -> Self {
        Self { when: When::Asked, ..Self::who(Answer::Pays) }
    }
    /// The same with another fate of the callback.
    #[must_use]
    pub const fn delivered(self, delivery: Delivery) -> Self {
        Self { delivery, ..self }
    }
    /// The same with another fate of the push answer.
    #[must_use]
    pub const fn pushed(self, push: PushAnswer) -> Self {
        Self { push, ..self }
    }
}
