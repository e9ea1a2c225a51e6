//! Short texts of which there are thousands: user names, ids of packages. What fits is kept in the value itself, without memory
//! of its own; longer ones share theirs with their copies.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Bytes that fit into the value: with them it is as large as a reference to a text.
const ROOM: usize = 14;

/// A text that does not change. It is compared and hashed as its characters are.
#[derive(Clone)]
pub(crate) struct Text(Kept);

#[derive(Clone)]
enum Kept {
    Here {
        length: u8,
        bytes: [u8; ROOM],
    },
    /// Behind two references: one alone would be two words, and the value three.
    There(Arc<Box<str>>),
}

impl Text {
    /// The text itself.
    pub(crate) fn as_str(&self) -> &str {
        match &self.0 {
            // It was made of a text; the library checks that once more, a few bytes at a time.
            Kept::Here { length, bytes } => {
                bytes.get(..usize::from(*length)).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default()
            }
            Kept::There(text) => text,
        }
    }

    /// The empty text, which sorts before every other.
    pub(crate) const fn empty() -> Self {
        Self(Kept::Here { length: 0, bytes: [0; ROOM] })
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let mut bytes = [0; ROOM];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(room), Ok(length)) => {
                room.copy_from_slice(text.as_bytes());
                Self(Kept::Here { length, bytes })
            }
            _ => Self(Kept::There(Arc::new(text.into()))),
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::hash::DefaultHasher;

    fn hash(value: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn it_is_two_words_and_what_is_long_is_kept_once() {
        assert_eq!(size_of::<Text>(), 16);
        assert_eq!(size_of::<Option<Text>>(), 16);
        let long = Text::from("a text that does not fit");
        let (Kept::There(one), Kept::There(other)) = (&long.0, &long.clone().0) else { panic!("it fits") };
        assert!(Arc::ptr_eq(one, other));
    }

    proptest! {
        #[test]
        fn it_is_the_text_it_was_made_of(a in "\\PC{0,20}", b in "[ab]{0,3}\\PC{0,13}") {
            let (one, other) = (Text::from(a.as_str()), Text::from(b.as_str()));
            prop_assert_eq!((one.as_str(), other.as_str()), (a.as_str(), b.as_str()));
            prop_assert_eq!(one.cmp(&other), a.cmp(&b));
            prop_assert_eq!(one == other, a == b);
            prop_assert_eq!(format!("{one:?}"), format!("{a:?}"));
            prop_assert_eq!(hash(&one), hash(a.as_str()));
            prop_assert!(Text::empty() <= one && (Text::empty() == one) == a.is_empty());
        }
    }
}
