//! The operator's colour: whether what is written on it and in it can be read, and the pages' style with it. Pure.

use std::fmt;

/// The least contrast of a text with what is behind it (WCAG 2.2, 1.4.3).
pub const LEAST: f64 = 4.5;
/// The pages' background in light, as `web/style.css` has it.
const PAPER: Colour = Colour([0xfa, 0xf6, 0xee]);
/// What is written on a button in light.
const WHITE: Colour = Colour([0xff; 3]);
/// The pages' background in dark, and what is written on a button there.
const NIGHT: Colour = Colour([0x14, 0x12, 0x0e]);
const BLACK: Colour = Colour([0; 3]);

/// Red, green and blue of sRGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(pub [u8; 3]);

/// The accent on the pages: in light, and in dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colours {
    /// Readable on the light background, and under white.
    pub light: Colour,
    /// Readable on the dark background, and under it.
    pub dark: Colour,
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

impl Colour {
    /// Reads `#rrggbb`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let part = |from: usize| u8::from_str_radix(digits.get(from..from + 2)?, 16).ok();
        Some(Self([part(0)?, part(2)?, part(4)?]))
    }

    /// Relative luminance (WCAG 2.2, glossary), 0 to 1.
    fn luminance(self) -> f64 {
        let [r, g, b] = self.0.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    /// The contrast of two colours (WCAG 2.2, glossary), 1 to 21.
    #[must_use]
    pub fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// The colour that lies so many of `of` steps on the way to another.
    fn towards(self, other: Self, steps: u8, of: u8) -> Self {
        let mut mixed = self.0;
        for (part, end) in mixed.iter_mut().zip(other.0) {
            let sum = u16::from(*part) * u16::from(of - steps) + u16::from(end) * u16::from(steps);
            *part = u8::try_from(sum / u16::from(of)).unwrap_or(u8::MAX);
        }
        Self(mixed)
    }

    /// The first on the way to another that can be read on both; `other` itself can.
    fn readable(self, other: Self, grounds: &[Self]) -> Self {
        (0..40).map(|steps| self.towards(other, steps, 40)).find(|colour| colour.worst(grounds).0 >= LEAST).unwrap_or(other)
    }

    /// The least of its contrasts, and with what.
    fn worst(self, grounds: &[Self]) -> (f64, Self) {
        let all = grounds.iter().map(|ground| (self.contrast(*ground), *ground));
        all.reduce(|least, one| if one.0 < least.0 { one } else { least }).unwrap_or((21.0, self))
    }

    /// Whether it can be the accent in light, or in dark.
    ///
    /// # Errors
    /// What contrast it has, and with what; and a colour near it that can.
    pub fn check(self, dark: bool) -> Result<(), (String, String)> {
        let (grounds, end) = if dark { (&[NIGHT][..], WHITE) } else { (&[WHITE, PAPER][..], BLACK) };
        let (contrast, ground) = self.worst(grounds);
        if contrast >= LEAST {
            return Ok(());
        }
        let what = match (dark, ground == WHITE) {
            (true, _) => "the dark pages' background and the text on its buttons are",
            (false, true) => "the text on its buttons is",
            (false, false) => "the pages' background is",
        };
        // Cut, not rounded: 4.49 is not 4.5.
        let shown = (contrast * 100.0).floor() / 100.0;
        Err((
            format!("a contrast of {shown:.2}:1 only, where {what} {ground}"),
            format!("it must be 4.5:1 (WCAG 2.2) or more: {} has it", self.readable(end, grounds)),
        ))
    }
}

impl Colours {
    /// Both, where only the one for light is said: the other is the same, made as light as it must be.
    #[must_use]
    pub fn of_one(light: Colour) -> Self {
        Self { light, dark: light.readable(WHITE, &[NIGHT]) }
    }

    /// What goes behind the pages' own style. Buttons and the band at the top have the colour; the line below the band, and what shows where
    /// the focus is on it, are nearly white.
    #[must_use]
    pub fn style(&self) -> String {
        let Self { light, dark } = self;
        let (line, night) = (light.towards(WHITE, 32, 40), light.towards(BLACK, 20, 40));
        format!(
            ":root{{--go:{light};--go-ink:#fff;--band:{light};--sun:{line}}}@media (prefers-color-scheme:dark){{:root{{--go:{dark};--go-ink:{NIGHT};--band:{night}}}}}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colour(text: &str) -> Colour {
        Colour::read(text).unwrap_or_else(|| panic!("{text} is no colour"))
    }

    #[test]
    fn contrasts_are_those_of_the_guidelines() {
        for (a, b, contrast) in [
            ("#000000", "#ffffff", 21.0),
            ("#ffffff", "#ffffff", 1.0),
            // The lightest grey that passes on white, and the one after it.
            ("#767676", "#ffffff", 4.54),
            ("#777777", "#ffffff", 4.48),
            ("#0000ff", "#ffffff", 8.59),
            ("#ff0000", "#ffffff", 4.00),
            ("#00ff00", "#000000", 15.30),
        ] {
            let found = colour(a).contrast(colour(b));
            assert!((found - contrast).abs() < 0.01, "{a} on {b}: {found}");
            assert!((colour(b).contrast(colour(a)) - found).abs() < 1e-9);
        }
    }

    #[test]
    fn which_colours_can_be_read() {
        for (text, dark, refused) in [
            ("#0a6b3b", false, None),
            ("#7a1fa2", false, None),
            ("#ffcc00", false, Some("a contrast of 1.40:1 only, where the pages' background is #faf6ee")),
            // White can be read on it, and it cannot be read on the page.
            ("#767676", false, Some("a contrast of 4.21:1 only, where the pages' background is #faf6ee")),
            ("#5bd197", true, None),
            ("#7a1fa2", true, Some("a contrast of 2.26:1 only, where the dark pages' background and the text on its buttons are #14120e")),
        ] {
            let said = colour(text).check(dark).err();
            assert_eq!(said.as_ref().map(|(what, _)| what.as_str()), refused, "{text}");
            if let Some((_, right)) = said {
                let hint = right.split(' ').find(|word| word.starts_with('#')).expect("a colour is named");
                assert!(colour(hint).check(dark).is_ok(), "{hint}, named for {text}, cannot be read either");
            }
        }
    }

    #[test]
    fn what_is_no_colour() {
        for text in ["", "#", "red", "#fff", "#12345", "#1234567", "#12345g", "123456", "#é2345", "#+12345"] {
            assert_eq!(Colour::read(text), None, "{text}");
        }
    }

    #[test]
    fn whatever_colour_can_be_read_in_light_has_a_style_in_which_all_can_be_read() {
        for red in (0..=255).step_by(15) {
            for green in (0..=255).step_by(15) {
                for blue in (0..=255).step_by(15) {
                    let light = Colour([red, green, blue]);
                    if light.check(false).is_err() {
                        continue;
                    }
                    let colours = Colours::of_one(light);
                    assert!(colours.dark.check(true).is_ok(), "{light} in dark");
                    let night = light.towards(BLACK, 20, 40);
                    // The band's text; and on it what is no text (WCAG 2.2, 1.4.11).
                    assert!(night.contrast(WHITE) >= LEAST, "{night}");
                    let line = light.towards(WHITE, 32, 40);
                    assert!(line.contrast(light) >= 3.0 && line.contrast(night) >= 3.0, "{line} on {light}: {}", line.contrast(light));
                }
            }
        }
    }

    /// The value that a name has in the style; in its dark half where the name is there.
    fn named(style: &str, name: &str, dark: bool) -> Colour {
        let (light, night) = style.split_once("@media (prefers-color-scheme:dark)").expect("there are dark pages");
        let night = night.split("}\n}").next().unwrap_or_default();
        let value = |text: &str| Some(text.split_once(&format!("--{name}:"))?.1.split([';', '}']).next().unwrap_or_default().to_owned());
        let found = if dark { value(night).or_else(|| value(light)) } else { value(light) };
        let found = found.unwrap_or_else(|| panic!("--{name} is not in the style"));
        // #fff is #ffffff.
        let long = if found.len() == 4 { found.chars().skip(1).flat_map(|c| [c, c]).collect() } else { found[1..].to_owned() };
        colour(&format!("#{long}"))
    }

    /// What has the focus is seen (WCAG 2.2, 1.4.11 and 2.4.7): the ring around it has 3:1 with all that it can lie on. In the header, and
    /// around the link that leads past it, that is the band; the footer's links lie on the page's ground.
    #[test]
    fn the_ring_around_what_has_the_focus_is_seen_everywhere() {
        let style = include_str!("../../../../web/style.css");
        assert!(style.contains("\n:focus-visible{outline:3px solid var(--ink);"));
        assert!(style.contains("\nheader :focus-visible,.skip:focus-visible{outline-color:var(--sun)}"));
        assert_eq!(style.matches("outline").count(), 3, "nothing else says how the ring is: {style}");
        for dark in [false, true] {
            let named = |name| named(style, name, dark);
            for ground in ["paper", "card", "note-bg", "bad-bg", "good-bg"] {
                let contrast = named("ink").contrast(named(ground));
                assert!(contrast >= 3.0, "on {ground}, dark {dark}: {contrast}");
            }
            let contrast = named("sun").contrast(named("band"));
            assert!(contrast >= 3.0, "on the band, dark {dark}: {contrast}");
        }
        // An operator's colour changes the band and the ring on it alone; `whatever_colour_…` holds these two against each other.
        let own = Colours::of_one(colour("#7a1f5c")).style();
        assert!(
            own.contains("--sun:") && own.contains("--band:") && !["--ink:", "--paper:", "--card:"].iter().any(|name| own.contains(name))
        );
    }

    /// The backgrounds that are reckoned with are the ones that the pages have.
    #[test]
    fn the_style_has_these_backgrounds() {
        let style = include_str!("../../../../web/style.css");
        for (name, value) in [("--paper", PAPER), ("--paper", NIGHT)] {
            assert!(style.contains(&format!("{name}:{value};")), "{name} is not {value} in web/style.css");
        }
        assert!(style.contains("--go-ink:#fff;"));
    }
}
