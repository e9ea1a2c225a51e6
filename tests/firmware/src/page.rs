//! The figures of docs/firmware.md: written by the program that measured them, and by nobody else.

use anyhow::{Context, Result};
use std::path::Path;

/// What was measured on one router: a name and a value a row, in the page's order.
#[derive(Default)]
pub struct Figures {
    rows: Vec<(String, String)>,
}

impl Figures {
    /// Notes one, and says it.
    pub fn add(&mut self, name: &str, value: String) {
        lango_lab::lab::figure(&format!("{name}: {value}"));
        self.rows.push((name.to_owned(), value));
    }
}

/// Puts a router's figures in place of its last ones, in the section that has its processor's name.
pub fn write(page: &Path, processor: &str, figures: &Figures) -> Result<()> {
    let text = std::fs::read_to_string(page).with_context(|| format!("{}", page.display()))?;
    let written = replaced(&text, processor, figures).with_context(|| format!("{} has no section {processor:?}", page.display()))?;
    Ok(std::fs::write(page, written)?)
}

fn replaced(text: &str, processor: &str, figures: &Figures) -> Option<String> {
    let head = format!("### {processor}\n");
    let (before, section) = text.split_once(&head)?;
    let after = ["\n## ", "\n### "].iter().filter_map(|next| section.find(next)).min().map_or("", |at| &section[at..]);
    let rows: String = figures.rows.iter().map(|(name, value)| format!("| {name} | {value} |\n")).collect();
    Some(format!("{before}{head}| measured | by `make test-firmware PAGE=1` |\n| --- | --- |\n{rows}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_s_section_alone_is_written_anew() {
        let figures = Figures { rows: vec![("boot".to_owned(), "9 s".to_owned())] };
        let table = "| measured | by `make test-firmware PAGE=1` |\n| --- | --- |\n| boot | 9 s |\n";
        let page = "# Firmware\n\n## Figures\n### aarch64\nold\n\n### armv7\nkept\n\n## The machine\nkept\n";
        let written = format!("# Firmware\n\n## Figures\n### aarch64\n{table}\n### armv7\nkept\n\n## The machine\nkept\n");
        assert_eq!(replaced(page, "aarch64", &figures).as_deref(), Some(written.as_str()));
        assert_eq!(replaced(&written, "aarch64", &figures).as_deref(), Some(written.as_str()));
        let written = format!("# Firmware\n\n## Figures\n### aarch64\nold\n\n### armv7\n{table}\n## The machine\nkept\n");
        assert_eq!(replaced(page, "armv7", &figures).as_deref(), Some(written.as_str()));
        assert_eq!(replaced("# Firmware\n", "armv7", &figures), None);
    }
}
