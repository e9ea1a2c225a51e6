//! How this program was started: what the start script says in the environment, and where the files are.

use super::fetch::Patience;
use super::files::Files;
use lango_core::update::Reason;
use std::path::PathBuf;

/// How it was started.
#[derive(Debug, Clone)]
pub struct Started {
    /// The start script, where it started this program: only then is there somebody to put the old one back.
    pub script: Option<PathBuf>,
    /// Where the files are.
    pub files: Files,
    /// Why it put the program before back, in this start: [`Reason::Crashed`] or [`Reason::NotHealthy`].
    pub undone: Option<Reason>,
    /// How patient a fetch is.
    pub patience: Patience,
}

impl Started {
    /// As `images/files/usr/libexec/lango/start` says it; where somebody else started this program, as it is on OpenWrt.
    #[must_use]
    pub fn by_environment() -> Self {
        let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let program = path("LANGO_PROGRAM").or_else(|| std::env::current_exe().ok()).unwrap_or_default();
        let undone = match std::env::var("LANGO_UNDONE").as_deref() {
            Ok("overdue") => Some(Reason::NotHealthy),
            Ok("crashed") => Some(Reason::Crashed),
            _ => None,
        };
        let files = Files::new(program, path("LANGO_UPDATES"));
        Self { script: path("LANGO_START"), files, undone, patience: Patience::default() }
    }
}
