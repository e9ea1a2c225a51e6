//! Single key presses in the terminal.

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::io::{IsTerminal, Read};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// The terminal, giving each key at once; it is put back as it was when dropped.
pub struct Keys {
    keys: Receiver<u8>,
    before: Option<Termios>,
}

fn restore(before: &Termios) {
    // Nothing can be done about a terminal that is gone.
    let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, before);
}

impl Keys {
    /// Listens. Without a terminal there are no keys, and the page does it all.
    pub fn listen() -> Self {
        let (sender, keys) = channel();
        let before = std::io::stdin().is_terminal().then(|| tcgetattr(std::io::stdin()).ok()).flatten();
        if let Some(before) = before.clone() {
            let mut single = before.clone();
            // ISIG stays: Ctrl-C is a signal.
            single.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
            if tcsetattr(std::io::stdin(), SetArg::TCSANOW, &single).is_ok() {
                lango_lab::rights::at_signal(move || restore(&before));
                std::thread::spawn(move || {
                    for key in std::io::stdin().lock().bytes().map_while(Result::ok) {
                        if sender.send(key).is_err() {
                            break;
                        }
                    }
                });
            }
        } else {
            // The sender must live on, or every look at the keys would return at once.
            std::mem::forget(sender);
        }
        Self { keys, before }
    }

    /// The next key, if one comes within `limit`.
    pub fn next(&self, limit: Duration) -> Option<char> {
        match self.keys.recv_timeout(limit) {
            Ok(key) => Some(char::from(key)),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                std::thread::sleep(limit); // the terminal is gone: the page still does it
                None
            }
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            restore(before);
        }
    }
}
