//! JSON for people's eyes: each value on a line of its own. Pure.
//!
//! `serde_json` does so as it writes: all that writes an answer would be in the program once more for it.

/// Sets JSON that holds no blanks between its values as `serde_json::to_string_pretty` would have written it.
pub fn indented(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut text, mut escaped) = (0, false, false);
    let mut characters = json.chars().peekable();
    while let Some(character) = characters.next() {
        if text {
            out.push(character);
            (escaped, text) = (character == '\\' && !escaped, character != '"' || escaped);
            continue;
        }
        match character {
            '{' | '[' => {
                out.push(character);
                if let Some(end) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(character);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                text = character == '"';
                out.push(character);
            }
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn as_serde_json_does() {
        for value in [
            json!({}),
            json!([]),
            json!(null),
            json!("a, [b]: {\"c\\\"}\n"),
            json!({"a": [], "b": {}, "c": [1, -2.5, true, null, {"d": ["\\", "\"", "\\\"", "}"]}], "ü:": ["é", [[1], []]]}),
        ] {
            assert_eq!(indented(&value.to_string()), serde_json::to_string_pretty(&value).unwrap());
        }
    }

    #[test]
    fn what_is_no_json_is_no_danger() {
        for odd in ["", "]]]", "\"\\", "{[", "}{", ":,", "\u{1f600}\""] {
            let _whatever: String = indented(odd);
        }
        assert!(serde_json::from_str::<Value>(&indented("[{\"a\":1}]")).is_ok());
    }
}
