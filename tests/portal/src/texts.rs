//! The portal's texts, as the pages have them: the tests look for what customers read.

use serde_json::Value;

/// The texts of one language.
pub struct Texts {
    /// As `sw`.
    pub language: &'static str,
    texts: Value,
}

impl Texts {
    /// All languages.
    #[must_use]
    pub fn all() -> [Self; 2] {
        [("en", include_str!("../../../web/locale/en.json")), ("sw", include_str!("../../../web/locale/sw.json"))]
            .map(|(language, json)| Self { language, texts: serde_json::from_str(json).expect("it is JSON") })
    }

    /// A text; stops the test where there is none of that name.
    #[must_use]
    pub fn of(&self, key: &str) -> &str {
        self.texts[key].as_str().unwrap_or_else(|| panic!("no text {key} in {}", self.language))
    }

    /// A text with something in it.
    #[must_use]
    pub fn with(&self, key: &str, name: &str, value: &str) -> String {
        self.of(key).replace(&format!("{{{name}}}"), value)
    }

    /// The button that pays so much.
    #[must_use]
    pub fn pay(&self, shillings: u32) -> String {
        self.with("pay", "price", &self.with("price", "amount", &shillings.to_string()))
    }
}
