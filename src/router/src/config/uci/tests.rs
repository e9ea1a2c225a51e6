//! The format's rules as tables, and a storm of odd bytes.

use super::*;
use proptest::prelude::*;

/// The value that `option x` gets from what stands behind its name.
fn value_of(written: &str) -> Result<String, String> {
    let (file, faults) = parse(format!("config a\n\toption x {written}\n").as_bytes());
    match faults.first() {
        Some(fault) => Err(fault.to_string()),
        None => Ok(file.sections[0].options[0].values[0].text.clone()),
    }
}

#[test]
fn values_as_they_may_be_written() {
    for (written, text) in [
        ("plain", "plain"),
        ("'two words'", "two words"),
        ("\"two words\"", "two words"),
        ("a'b'\"c\"d", "abcd"),
        ("''", ""),
        ("'it'\\''s'", "it's"),
        ("\"say \\\"yes\\\"\"", "say \"yes\""),
        ("\"a\\\\b\"", "a\\b"),
        ("'a\\b'", "a\\b"),
        ("a\\ b", "a b"),
        ("\"a\\nb\"", "anb"),
        ("x # a comment", "x"),
        ("x#a comment", "x"),
        ("'x#y' # a comment", "x#y"),
        ("'a;b'", "a;b"),
        ("\tx \t", "x"),
        ("x\r", "x"),
        ("'Saa 1 – jioni'", "Saa 1 – jioni"),
        ("\"two \\\nlines\"", "two lines"),
        ("one\\\ntwo", "onetwo"),
        ("one\\\r\ntwo", "onetwo"),
    ] {
        assert_eq!(value_of(written).as_deref(), Ok(text), "{written}");
    }
}

#[test]
fn what_the_format_does_not_take() {
    for (written, fault) in [
        ("config", "1: config needs a type and at most one name"),
        ("config a b c", "1: config needs a type and at most one name"),
        ("config ''", "1: the section's type is no word"),
        ("config a 'b-c'", "1: the section's name has other characters"),
        ("config a\noption", "2: option needs a name and a value"),
        ("config a\nlist", "2: list needs a name and a value"),
        ("config a\noption b-c d", "2: the option's name has other characters"),
        ("config a\noption b c d", "2: there are more words than a name and a value"),
        ("config a\noption b 'c\noption d 'e'\n", "2: the quote ' is not closed on its line"),
        ("config a\noption b \"c\\\"\n", "2: the quote \" is not closed on its line"),
        ("option a b", "1: this option stands before the first section"),
        ("list a b", "1: this list stands before the first section"),
        ("setting a b", "1: this line begins with an unknown word"),
        ("'config' a", "1: this line begins with an unknown word"),
        ("c\"onfig\" a", "1: this line begins with an unknown word"),
        ("con\\fig a", "1: this line begins with an unknown word"),
        ("config a\noption b c;d", "2: a ; stands outside quotes"),
        ("config a\noption b c ; option d e", "2: a ; stands outside quotes"),
        ("package", "1: package needs one name"),
        ("package lango\nconfig a\npackage network", "3: a second package begins here"),
        ("config a x\nconfig b x", "2: a section of another type is named 'x', too (line 1)"),
        ("config a\noption b '\u{1}'", "2: this line holds an unprintable character"),
    ] {
        let (_, faults) = parse(written.as_bytes());
        assert_eq!(faults.len(), 1, "{written}: {faults:?}");
        assert!(faults[0].to_string().starts_with(fault), "{written}: {}", faults[0]);
    }
    let (_, faults) = parse(b"config a\noption b '\xff'\n");
    assert_eq!(faults.iter().map(ToString::to_string).collect::<Vec<_>>(), ["2: this line is not UTF-8 text; save the file in UTF-8"]);
}

#[test]
fn a_fault_hides_no_later_one() {
    let (file, faults) =
        parse(b"config gateway\noption a 'x\noption b\n\nwhat is this\nconfig c-d '-'\noption lost 1\nconfig e\noption f g\n");
    assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [2, 5, 6]);
    assert_eq!(file.sections.iter().map(|section| section.kind.as_str()).collect::<Vec<_>>(), ["gateway", "e"]);
}

#[test]
fn named_sections_go_on_and_others_do_not() {
    let (file, faults) = parse(b"config a 'x'\noption b 1\noption c 1\nconfig a\noption b 2\nconfig a\nconfig a x\noption b 3\n");
    assert_eq!(faults, []);
    assert_eq!(file.sections.len(), 3);
    let x = &file.sections[0];
    assert_eq!((x.line, x.name.as_deref()), (1, Some("x")));
    let b = &x.options[0];
    assert_eq!((b.values[0].text.as_str(), b.line(), b.replaced), ("3", 8, None), "a later block replaces");
    assert_eq!(x.options[1].values[0].text, "1", "and leaves the rest");
}

fn twice(earlier: u32, later: u32) -> Option<Twice> {
    Some(Twice { earlier, later })
}

#[test]
fn options_and_lists_of_one_name() {
    let values = |text: &str| {
        let (file, faults) = parse(format!("config a\n{text}").as_bytes());
        assert_eq!(faults, []);
        let entry = &file.sections[0].options[0];
        (entry.values.iter().map(|value| (value.text.clone(), value.line)).collect::<Vec<_>>(), entry.replaced)
    };
    let v = |text: &str, line| (text.to_owned(), line);
    assert_eq!(values("option x a\nlist x b\n"), (vec![v("a", 2), v("b", 3)], None), "an option that a list follows is the list's first");
    assert_eq!(values("list x a\nlist x b\n"), (vec![v("a", 2), v("b", 3)], None));
    assert_eq!(values("list x a\nlist x b\noption x c\n"), (vec![v("c", 4)], twice(3, 4)));
    assert_eq!(values("option x a\noption x b\n"), (vec![v("b", 3)], twice(2, 3)));
}

#[test]
fn an_option_without_a_value_changes_nothing() {
    let read = |text: &str| {
        let (file, faults) = parse(format!("config a n\n{text}").as_bytes());
        assert_eq!(faults, []);
        let entry = &file.sections[0].options[0];
        (entry.values.iter().map(|value| value.text.clone()).collect::<Vec<_>>(), entry.replaced, entry.nothing)
    };
    let v = |values: &[&str]| values.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    assert_eq!(read("option x a\nconfig a n\noption x ''\n"), (v(&["a"]), None, false));
    assert_eq!(read("option x a\noption x\n"), (v(&["a"]), twice(2, 3), false), "in one block it is a mistake all the same");
    assert_eq!(read("option x a\noption x ''\noption x c\n"), (v(&["c"]), twice(2, 4), false));
    assert_eq!(read("list x a\nlist x b\nconfig a n\noption x ''\n"), (v(&["a", "b"]), None, false));
    assert_eq!(read("option x ''\n"), (v(&[""]), None, true));
    assert_eq!(read("option x ''\nlist x a\n"), (v(&["a"]), None, false));
    assert_eq!(read("list x ''\nlist x a\n"), (v(&["", "a"]), None, false), "a list may have empty values");
    assert_eq!(read("list x ''\n"), (v(&[""]), None, false));
}

#[test]
fn short_keywords() {
    let (file, faults) = parse(b"p lango\nc a x\no b 'c;d'\nl e f\nl e g # ; o h i\n");
    assert_eq!(faults, []);
    assert_eq!(file.package.map(|package| package.text).as_deref(), Some("lango"));
    let options = &file.sections[0].options;
    assert_eq!(options.iter().map(|entry| (entry.name.as_str(), entry.values.len())).collect::<Vec<_>>(), [("b", 1), ("e", 2)]);
}

/// Writes a value as OpenWrt's own tool does.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_lose_its_lines(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let (_, faults) = parse(&bytes);
        prop_assert!(faults.iter().all(|fault| (1..=lines).contains(&(fault.line as usize))));
    }

    #[test]
    fn no_text_of_the_format_s_own_pieces_makes_it_panic(pieces in proptest::collection::vec(
        prop_oneof![Just("config "), Just("option "), Just("list "), Just("package "), Just("'"), Just("\""), Just("\\"), Just("\n"), Just("\r\n"), Just("#"), Just(";"), Just("é"), Just("x "), Just("")], 0..80)) {
        let text = pieces.concat();
        let lines = text.matches('\n').count() + 1;
        let (_, faults) = parse(text.as_bytes());
        prop_assert!(faults.iter().all(|fault| (1..=lines).contains(&(fault.line as usize))));
    }

    #[test]
    fn what_openwrt_writes_is_read_back(values in proptest::collection::vec("[ -~äπ]{0,12}", 1..6)) {
        let text: String = values.iter().fold("config a 'b'\n".to_owned(), |text, value| text + "\tlist x " + &quoted(value) + "\n");
        let (file, faults) = parse(text.as_bytes());
        prop_assert_eq!(faults, vec![]);
        let read: Vec<_> = file.sections[0].options[0].values.iter().map(|value| value.text.clone()).collect();
        prop_assert_eq!(read, values);
    }
}
