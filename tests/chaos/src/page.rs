//! The figures of docs/chaos.md: written by the program that measured them, and by nobody else.

use anyhow::{Context, Result};
use std::path::Path;

/// The section that is written anew.
const SECTION: &str = "## A run\n";

/// Puts a run's own words in place of the last one's.
pub fn write(page: &Path, run: &str) -> Result<()> {
    let text = std::fs::read_to_string(page).with_context(|| format!("{}", page.display()))?;
    std::fs::write(page, replaced(&text, run).with_context(|| format!("{} has no section \"A run\"", page.display()))?)?;
    Ok(())
}

fn replaced(text: &str, run: &str) -> Option<String> {
    let (before, section) = text.split_once(SECTION)?;
    let after = section.find("\n## ").map_or("", |at| &section[at..]);
    Some(format!("{before}{SECTION}As `make chaos PAGE=1` wrote it:\n```\n{}\n```\n{after}", run.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_alone_is_written_anew() {
        let page = "# Storm\n\n## A run\nold\n```\n1\n```\n\n## The model\nkept\n";
        let written = "# Storm\n\n## A run\nAs `make chaos PAGE=1` wrote it:\n```\nnew\n2\n```\n\n## The model\nkept\n";
        assert_eq!(replaced(page, "new\n2\n\n").as_deref(), Some(written));
        assert_eq!(replaced(written, "new\n2").as_deref(), Some(written));
        assert_eq!(replaced("# Storm\n", "x"), None);
    }
}
