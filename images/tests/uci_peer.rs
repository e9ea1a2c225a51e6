//! The router's configuration is read as OpenWrt reads it: files are given to OpenWrt's own `uci` (tools/uci.sh) and to the program's
//! reader, which must find the same sections, options and values, and refuse the same files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helper fails the test")]

mod common;

use common::{repository, text};
use lango::config::uci;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A section: its type, its name, and its options with their values, by name: their order means nothing.
#[derive(Debug, PartialEq, Eq)]
struct Section {
    kind: String,
    name: Option<String>,
    options: BTreeMap<String, Vec<String>>,
}

fn program() -> PathBuf {
    let own = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/lango/tools/bin/uci");
    let program = std::env::var_os("LANGO_UCI").map_or_else(own, PathBuf::from);
    assert!(program.is_file(), "{} is not there: tools/setup.sh packages", program.display());
    program
}

/// What OpenWrt finds in a file; nothing where it refuses it. It is asked to write the file again, which it does in one way.
fn theirs(bytes: &[u8]) -> Option<Vec<Section>> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("lango"), bytes).unwrap();
    let changes = folder.path().join("changes");
    let arguments = ["-c", text(folder.path()), "-p", text(&changes), "-P", text(&changes), "export", "lango"];
    let output = Command::new(program()).args(arguments).output().unwrap();
    output.status.success().then(|| sections(&String::from_utf8(output.stdout).unwrap()))
}

/// What `uci export` wrote.
fn sections(exported: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for statement in statements(exported) {
        match statement.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["package", "lango"] => {}
            ["config", kind, name @ ..] => {
                sections.push(Section {
                    kind: (*kind).to_owned(),
                    name: name.first().map(|name| (*name).to_owned()),
                    options: BTreeMap::new(),
                });
            }
            ["option" | "list", name, value] => {
                sections.last_mut().unwrap().options.entry((*name).to_owned()).or_default().push((*value).to_owned());
            }
            other => panic!("uci export wrote {other:?}"),
        }
    }
    sections
}

/// Words in single quotes, a quote as `'\\''`, a statement a line; a line's end in quotes is none.
fn statements(exported: &str) -> Vec<Vec<String>> {
    let (mut statements, mut words, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let mut characters = exported.chars();
    while let Some(c) = characters.next() {
        match c {
            '\'' => word.get_or_insert_default().extend(characters.by_ref().take_while(|&c| c != '\'')),
            '\\' => word.get_or_insert_default().extend(characters.next()),
            ' ' | '\t' | '\n' => {
                words.extend(word.take());
                if c == '\n' && !words.is_empty() {
                    statements.push(std::mem::take(&mut words));
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    statements
}

/// What the program finds, or its faults.
fn ours(bytes: &[u8]) -> Result<Vec<Section>, Vec<String>> {
    let (file, faults) = uci::parse(bytes);
    if !faults.is_empty() {
        return Err(faults.iter().map(ToString::to_string).collect());
    }
    let values = |entry: &uci::Entry| (entry.name.clone(), entry.values.iter().map(|value| value.text.clone()).collect::<Vec<_>>());
    let section = |section: &uci::Section| Section {
        kind: section.kind.clone(),
        name: section.name.clone(),
        options: section.options.iter().filter(|entry| !entry.nothing).map(values).collect(),
    };
    Ok(file.sections.iter().map(section).collect())
}

/// What is meant to be refused here and is not by OpenWrt, by the beginning of the fault behind its line (src/router/src/config/uci.rs says why).
const STRICTER: [&str; 8] = [
    "this line is not UTF-8 text",
    "this line holds an unprintable character",
    "the quote ' is not closed on its line",
    "the quote \" is not closed on its line",
    "a second package begins here",
    "a ; stands outside quotes",
    // Where a word behind them is empty.
    "there are more words than a name and a value",
    "config needs a type and at most one name",
];

/// Whether both read the same in it, or both refuse it; where not, what each found.
fn compared(bytes: &[u8]) -> Result<(), String> {
    let (ours, theirs) = (ours(bytes), theirs(bytes));
    let same = match (&ours, &theirs) {
        (Ok(ours), Some(theirs)) => ours == theirs,
        (Err(_), None) => true,
        (Ok(_), None) => false,
        (Err(faults), Some(_)) => {
            faults.iter().any(|fault| STRICTER.iter().any(|meant| fault.split_once(": ").is_some_and(|(_, what)| what.starts_with(meant))))
        }
    };
    if same { Ok(()) } else { Err(format!("{:?}\n  ours:   {ours:?}\n  theirs: {theirs:?}\n", String::from_utf8_lossy(bytes))) }
}

fn assert_same<'a>(texts: impl IntoIterator<Item = &'a [u8]>) {
    let differences: String = texts.into_iter().filter_map(|text| compared(text).err()).collect();
    assert!(differences.is_empty(), "{differences}");
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of a page's blocks that hold configuration.
fn examples(page: &Path) -> Vec<Vec<u8>> {
    let page = String::from_utf8(read(page)).unwrap();
    let blocks = page.split("```").skip(1).step_by(2).filter_map(|block| Some(block.split_once('\n')?.1));
    blocks.filter(|block| block.trim_start().starts_with("config ")).map(|block| block.as_bytes().to_vec()).collect()
}

#[test]
fn what_is_shipped_and_what_the_pages_show_is_read_as_openwrt_does() {
    let mut texts = vec![read(&repository().join("images/files/etc/config/lango"))];
    for page in fs::read_dir(repository().join("docs")).unwrap().map(|entry| entry.unwrap().path()) {
        if page.extension().is_some_and(|extension| extension == "md") {
            texts.extend(examples(&page));
        }
    }
    assert!(texts.len() > 5, "only {} texts: where are the pages' examples?", texts.len());
    for name in ["dhcp", "firewall", "system", "wireless"] {
        texts.push(read(&repository().join("images/tests/openwrt").join(name)));
    }
    for text in &texts {
        assert!(ours(text).is_ok_and(|sections| !sections.is_empty()), "{}", String::from_utf8_lossy(text));
    }
    assert_same(texts.iter().map(Vec::as_slice));
    let corpus = fs::read_dir(repository().join("tests/fuzz/corpus/router_config")).unwrap();
    let corpus: Vec<Vec<u8>> = corpus.map(|entry| read(&entry.unwrap().path())).collect();
    assert_same(corpus.iter().map(Vec::as_slice));
}

/// Each is a whole file.
const ODD: &[&str] = &[
    "",
    "\n\n# nothing\n",
    "config a\n\toption x a'b'\"c\"\n",
    "config a\n\toption x 'it'\\''s'\n",
    "config a\n\toption x \"say \\\"yes\\\" a\\\\b\"\n",
    "config a\n\toption x 'a\\b'\n",
    "config a\n\toption x a\\ b\n",
    "config a\n\toption x \"two \\\nlines\"\n",
    "config a\n\toption x one\\\ntwo\n",
    "config a\n\toption x one\\\n",
    "config a\n\toption x one\\",
    "config a\n\toption x 'one' \\\n\toption y 'two'\n",
    "config a\n\toption x one # a comment\n\toption y two#three\n\toption z 'x#y'\n",
    "config a # type\n\toption x 'one'\n",
    "# config a\nconfig b\n#\toption x 1\n\toption y 2\n",
    "config a\n\toption x 'a;b'; option y c\n",
    "config a;option x 1;list y 2;list y 3\n",
    "config a\r\n\toption x 'one'\r\n\toption y two\r\n",
    "config a 'n'\n\toption x 1\n\toption y 1\nconfig b\n\toption x 5\nconfig a 'n'\n\toption x 2\n",
    "config a n\n\tlist x 1\nconfig a n\n\tlist x 2\n",
    "config a n\nconfig b n\n",
    "config a\n\toption x 1\n\tlist x 2\n",
    "config a\n\tlist x 1\n\tlist x 2\n\toption x 3\n",
    "config a\n\tlist x 1\n\toption x 3\n\tlist x 4\n",
    "config a\n\toption x 1\n\toption x 2\n",
    "config a\n\toption x 1\n\toption x ''\n",
    "config a\n\toption x ''\n\tlist x 1\n",
    "config a\n\tlist x ''\n\tlist x 1\n",
    "config a\n\tlist x ''\n",
    "config a ''\n\toption x 1\n",
    "config a \"\"\n\toption x 1\n",
    "config a ' '\n\toption x 1\n",
    "config 'a b'\n",
    "config ''\n",
    "config\n",
    "config a b c\n",
    "config 'a-b'\n\toption x 1\n",
    "config a 'b-c'\n",
    "config a 'b.c'\n",
    "config a.b\n",
    "config é\n",
    "config a é\n",
    "config a\n\toption x-y 1\n",
    "config a\n\toption x.y 1\n",
    "config a\n\toption 'x' 1\n",
    "config a\n\toption '' 1\n",
    "config a\n\toption x\n",
    "config a\n\toption\n",
    "config a\n\tlist\n",
    "config a\n\tlist x\n",
    "config a\n\toption x 1 2\n",
    "option x 1\n",
    "list x 1\n",
    "hello\n",
    "config a\nhello\n",
    "'config' a\n\t\"option\" x 1\n",
    "co a\n",
    "conf a\n\topt x 1\n\tli y 2\n",
    "configs a\n",
    "c a\n\to x 1\n\tl y 2\n",
    "package\n",
    "package lango\nconfig a\n",
    "package network\nconfig a\n",
    "package 'lango' x\n",
    "config a\n\toption x 'no end\n",
    "config a\n\toption x \"no end",
    "config a\n\toption x 'é – π'\n",
    "config a\n\toption x é\n",
    "\u{feff}config a\n",
    "config a\n\toption x 'a	b'\n",
    "config a\u{b}b\n",
    "config a\u{c}option\n",
    "   config   a   'x'   \n     option   y    'z'    \n",
    "config a\toption\n",
    "config a 'x'\n\toption 1 'one'\n\toption _ 'two'\n",
];

#[test]
fn odd_files_are_read_as_openwrt_does() {
    assert_same(ODD.iter().map(|text| text.as_bytes()));
}

#[test]
fn what_is_refused_here_alone_is_what_is_said_to_be() {
    for (text, fault) in [
        ("config a\n\toption b 'c\nd'\n", STRICTER[2]),
        ("config a\n\toption b \"c\nd\"\n", STRICTER[3]),
        ("config a\n\toption b 'c\u{1}'\n", STRICTER[1]),
        ("package lango\npackage lango\nconfig a\n", STRICTER[4]),
        ("config a\n\toption b c ; option d e\n", STRICTER[5]),
        ("config a\n\toption b c ''\n", STRICTER[6]),
        ("config a b ''\n", STRICTER[7]),
    ] {
        let faults = ours(text.as_bytes()).unwrap_err();
        assert!(faults.iter().any(|told| told.contains(fault)), "{faults:?}");
        assert!(theirs(text.as_bytes()).is_some(), "OpenWrt refuses it, too: {text:?}");
    }
}

/// A file's pieces: what the format is made of, so that most of what comes of them is nearly right.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "config a\n",
        "config a 'x'\n",
        "config a x\n",
        "config b 'y'\n",
        "config 'c-d'\n",
        "config a ''\n",
        "c a z\n",
        "\toption o 'one'\n",
        "\toption o two\n",
        "\toption o ''\n",
        "\toption o\n",
        "\tlist o 'three'\n",
        "\tlist l four\n",
        "\tlist l ''\n",
        "\tlist l\n",
        "\toption l 'five'\n",
        "\toption p \"six 'six'\"\n",
        "\toption p a'b'\"c\"\n",
        "\toption p 'it'\\''s'\n",
        "o q 'a;b'; ",
        "l q c ; ",
        "\toption",
        " ",
        "\t",
        "r",
        "'",
        "\"",
        "\\",
        "#",
        " # comment",
        ";",
        "\n",
        "\r\n",
        "é",
        "'a b'",
        "x",
        "-",
        "_",
        ".",
        "package lango\n",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn files_of_the_formats_own_pieces_are_read_as_openwrt_does(pieces in prop::collection::vec(piece(), 0..14)) {
        let differs = compared(pieces.concat().as_bytes());
        prop_assert!(differs.is_ok(), "{}", differs.unwrap_err());
    }
}
