//! Commands out of a page of the documentation, so that what people are told to type is what was tried.

/// Commands that a page has in one block, and where they are typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The heading that they stand under, without its marks.
    pub heading: String,
    /// The second word behind the fence: ```` ```sh router ````.
    pub place: String,
    /// A command each.
    pub lines: Vec<String>,
}

/// The blocks of a page that say where they are typed, in their order.
#[must_use]
pub fn blocks(page: &str) -> Vec<Block> {
    let mut all: Vec<Block> = Vec::new();
    let mut heading = "";
    let mut fence: Option<bool> = None;
    for line in page.lines() {
        match (fence, line.strip_prefix("```")) {
            (Some(_), Some(_)) => fence = None,
            (Some(true), None) => {
                if let Some(block) = all.last_mut() {
                    block.lines.push(line.to_owned());
                }
            }
            (Some(false), None) => {}
            (None, Some(words)) => {
                let place = words.strip_prefix("sh ");
                fence = Some(place.is_some());
                all.extend(place.map(|place| Block { heading: heading.to_owned(), place: place.to_owned(), lines: Vec::new() }));
            }
            (None, None) if line.starts_with('#') => heading = line.trim_start_matches('#').trim(),
            (None, None) => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_where_it_is_typed() {
        let page =
            "# A\n```\n# no heading\nnot this\n```\n## 1. B\n```sh router\na 'b'\n\nc\n```\n```toml\nd = 1\n```\n```sh relay\ne\n```\n";
        let block = |place: &str, lines: &[&str]| Block {
            heading: "1. B".to_owned(),
            place: place.to_owned(),
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
        };
        assert_eq!(blocks(page), [block("router", &["a 'b'", "", "c"]), block("relay", &["e"])]);
    }
}
