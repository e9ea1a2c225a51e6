//! The linker's script that puts what hardly ever runs behind everything else, so that its pages of the program's file are not in
//! RAM (docs/decisions/0024-size.md). A part of `build.rs`.
//!
//! Where a function belongs is read from its section's name, which is the function's as rustc mangles it ("v0"; RFC 2603): `_R`, what
//! kind of thing it is, and its crate with a hash, before anything else. A function whose name is of another form stays where it was.

/// What a router runs that has a relay or a certificate: crates, and modules of them, each name with its length before it.
const TLS_AND_MQTT: &[&str] = &[
    "12tokio_rustls",
    "15rustls_pemfile",
    "17rustls_pki_types",
    "4ring10arithmetic",
    "4ring2ec",
    "4ring3rsa",
    "4ring4aead",
    "4ring9signature",
    "5lango11certificate",
    "5lango3tls",
    "5lango4sync",
    "5lango6daemon5https",
    "5lango6portal6secure",
    "5lango6update",
    "6rustls",
    "8httparse",
    "6webpki",
    "7rumqttc",
];

/// What one with a RADIUS server runs.
const RADIUS: &[&str] = &["3des", "3md4", "3md5", "4hmac", "5lango6radius", "6radius"];

/// What the command line runs, and a panic.
const COMMANDS: &[&str] = &["14rustc_demangle", "5lango3cli", "5lango7control6client"];

/// Between `_R` and a crate's name are at least so many characters and at most one less than so many: two to sixteen that say what kind
/// of thing it is, `Cs`, and a hash of ten or eleven. The name of a second crate cannot begin within them.
const BEFORE_THE_CRATE: std::ops::Range<usize> = 14..30;

/// The script. It adds to the one that linkers have.
pub fn script() -> String {
    // What rustc knows to be cold, and what only a log at its most talkative or a test asks for.
    let mut rules = "*(.text.unlikely.*)\n*(.text._RNvX*5Debug3fmt*)\n".to_owned();
    for name in [TLS_AND_MQTT, RADIUS, COMMANDS].into_iter().flatten() {
        // A digit follows: without one, the name is only that of the crate which wanted the function, and others use it, too.
        rules.extend(BEFORE_THE_CRATE.map(|count| format!("*(.text._R{}_{name}[0-9]*)\n", "?".repeat(count))));
    }
    // ring's C and assembler, but for what hashes and what looks at the processor.
    rules.push_str("*libring*:*(EXCLUDE_FILE(*sha256* *cpu_* *mem.o) .text EXCLUDE_FILE(*sha256* *cpu_* *mem.o) .text.*)\n");
    format!("SECTIONS\n{{\n.text.rare :\n{{\n{rules}}}\n}}\nINSERT AFTER .text;\n")
}
