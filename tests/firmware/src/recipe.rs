//! Commands out of a page of the documentation, so that what people are told to type is what was tried.

/// Commands that a page has in one block, and where they are typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The heading that they stand under, without its marks.
    pub heading: String,
    /// The second word behind the fence: ```` ```sh router ````. Nothing, or what is there, where it is no `sh` with a place.
    pub place: String,
    /// A command each.
    pub lines: Vec<String>,
}

/// All blocks of a page, in their order, those in a list, too.
#[must_use]
pub fn blocks(page: &str) -> Vec<Block> {
    let mut all: Vec<Block> = Vec::new();
    let mut heading = "";
    let mut inside = false;
    for line in page.lines() {
        match (inside, line.trim_start().strip_prefix("```")) {
            (true, Some(_)) => inside = false,
            (true, None) => {
                if let Some(block) = all.last_mut() {
                    block.lines.push(line.to_owned());
                }
            }
            (false, Some(words)) => {
                inside = true;
                let place = words.strip_prefix("sh ").unwrap_or(words);
                all.push(Block { heading: heading.to_owned(), place: place.to_owned(), lines: Vec::new() });
            }
            (false, None) if line.starts_with('#') => heading = line.trim_start_matches('#').trim(),
            (false, None) => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_each_is_typed_and_those_that_do_not_say_it() {
        let page =
            "# A\n```\n# no heading\n```\n## B\n```sh router\na 'b'\n\nc\n```\n```toml\nd = 1\n```\n- list\n  ```sh relay\ne\n  ```\n";
        let block = |heading: &str, place: &str, lines: &[&str]| Block {
            heading: heading.to_owned(),
            place: place.to_owned(),
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
        };
        assert_eq!(
            blocks(page),
            [
                block("A", "", &["# no heading"]),
                block("B", "router", &["a 'b'", "", "c"]),
                block("B", "toml", &["d = 1"]),
                block("B", "relay", &["e"])
            ]
        );
    }
}
