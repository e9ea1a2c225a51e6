//! Servers in their order: who is asked, for how long, and who next (RFC 5080 section 2.2.1).

use super::packet::Unencodable;
use super::request::Sending;
use super::server::{Blame, Server, Silence};
use radius::core::packet::Packet;
use ring::rand::{SecureRandom, SystemRandom};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// The first wait (RFC 5080: IRT).
const FIRST: Duration = Duration::from_secs(2);

/// A customer waits no longer, over all servers.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// A server that leaves so many sendings unanswered is given up for the next.
const TRIES: u32 = 2;

/// Servers for one purpose, first choice first.
pub struct Pool(pub Vec<Rc<Server>>);

impl Pool {
    /// In the order in which they are to be asked now: those that do not answer come last, but they come.
    fn in_order(&self) -> Vec<Rc<Server>> {
        let (up, down): (Vec<_>, Vec<_>) = self.0.iter().cloned().partition(|server| server.is_up());
        [up, down].concat()
    }

    /// Asks one after the other, until `end`.
    ///
    /// # Errors
    /// When no server gave an answer.
    pub async fn ask(
        &self,
        end: Instant,
        blame: Blame,
        mut build: impl FnMut(Sending<'_>) -> Result<Vec<u8>, Unencodable>,
    ) -> Result<Packet, Silence> {
        let mut last = Silence::NoAnswer;
        let servers = self.in_order();
        for (index, server) in servers.iter().enumerate() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waits = waits(left, index + 1 == servers.len());
            match tokio::time::timeout(left + Duration::from_millis(50), server.ask(&waits, blame, &mut build)).await {
                Ok(Ok(packet)) => return Ok(packet),
                Ok(Err(unencodable @ Silence::Unencodable(_))) => return Err(unencodable),
                Ok(Err(silence)) => last = silence,
                Err(_) => break, // it waited for room: others are asking
            }
        }
        Err(last)
    }
}

/// How long is waited after each sending. The last server has all the time that is left, with waits that double; another one two tries.
fn waits(left: Duration, last: bool) -> Vec<Duration> {
    let mut waits = Vec::new();
    let (mut wait, mut rest) = (FIRST, left);
    while !rest.is_zero() && (last || waits.len() < TRIES as usize) {
        let this = jittered(wait).min(rest);
        waits.push(this);
        rest = rest.saturating_sub(this);
        // A last wait of a moment would only be a third packet too many.
        if last && rest < FIRST {
            if let Some(longer) = waits.last_mut() {
                *longer += rest;
            }
            break;
        }
        if last {
            wait *= 2;
        }
    }
    waits
}

/// A tenth more or less, at random: routers that lost the same server do not come back together.
fn jittered(wait: Duration) -> Duration {
    let mut dice = [0; 1];
    // Without randomness they do; that is no reason not to ask.
    let _ = SystemRandom::new().fill(&mut dice);
    wait.mul_f64(0.9 + 0.2 * f64::from(dice[0]) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_servers_has_two_tries_and_the_last_all_the_time() {
        for _ in 0..50 {
            let first = waits(PATIENCE, false);
            assert_eq!(first.len(), 2);
            assert!(first.iter().all(|wait| (1_800..=2_200).contains(&wait.as_millis())), "{first:?}");
            let alone = waits(PATIENCE, true);
            assert!((2..=3).contains(&alone.len()) && alone.iter().sum::<Duration>() == PATIENCE, "{alone:?}");
            let second = waits(Duration::from_secs(4), true);
            assert_eq!(second.iter().sum::<Duration>(), Duration::from_secs(4));
            assert!((1..=2).contains(&second.len()), "{second:?}");
        }
        assert_eq!(waits(Duration::from_millis(5), false), [Duration::from_millis(5)]);
    }
}
