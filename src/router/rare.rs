//! The linker's script that puts what hardly ever runs behind everything else, so that its pages of the program's file are not in
//! RAM (docs/decisions/0024-size.md). A part of `build.rs`.
//!
//! Where a function belongs is read from its section's name, which is the function's as rustc mangles it ("v0"; RFC 2603): `_R`, what
//! kind of thing it is, and its crate with a hash, before anything else. A function whose name is of another form stays where it was.
//!
//! A touch brings in 64 KiB around it: so what runs together lies together, and what runs on more routers lies further in front.

/// What each start runs once, though it is of no use on most routers: crates, and modules of them, each name with its length before it.
const AT_THE_START: &[&str] = &["5lango6update"];

/// What a router with a relay runs all the time: MQTT, and of TLS what carries it.
const CONNECTED: &[&str] = &[
    "12tokio_rustls",
    "4ring4aead",
    "5flume",
    "5lango4sync",
    "10tokio_util",
    "6rustls13common_state",
    "6rustls12record_layer",
    "6rustls4conn",
    "6rustls4msgs7message",
    "6rustls4msgs8deframer",
    "6rustls4msgs10fragmenter",
    "6rustls5tls13",
    "6rustls6crypto4ring5tls13",
    "6rustls6crypto6cipher",
    "6rustls6vecbuf",
    "7rumqttc",
];

/// What it runs to connect, and in part what one with a RADIUS server by TLS or a certificate of its own does.
const CONNECTING: &[&str] = &[
    "15rustls_pemfile",
    "17rustls_pki_types",
    "4ring10arithmetic",
    "4ring2ec",
    "4ring3rsa",
    "4ring9signature",
    "5lango3tls",
    "6rustls",
    "6webpki",
];

/// What it runs with a broker of old, or one that chooses what few choose.
const CONNECTING_OTHERWISE: &[&str] = &["6rustls5tls12", "6rustls6client3ech", "6rustls6client5tls12", "6rustls6crypto4ring5tls12"];

/// What only one with a certificate of its own runs, or one that fetches an update.
const SERVING: &[&str] = &[
    "5lango11certificate",
    "5lango6daemon5https",
    "5lango6portal6secure",
    "5lango6update4head",
    "5lango6update5fetch",
    "6rustls6server11server_conn",
    "6rustls6server2hs",
    "6rustls6server5tls12",
    "6rustls6server5tls13",
    "8httparse",
];

/// What one with a RADIUS server runs.
const RADIUS: &[&str] = &["10lango_core6radius", "3des", "3md4", "3md5", "4hmac", "5lango6radius", "6radius"];

/// What the command line runs, and a panic.
const COMMANDS: &[&str] = &["14rustc_demangle", "5lango3cli", "5lango7control6client"];

/// Of what all crates share, the large functions that are made for MQTT alone: its loop, and how it connects. Small ones are not to be had by the
/// types in their names: where those of several types come out the same, the compiler keeps one of them, under any of the names.
const MADE_FOR_MQTT: &[&str] = &["9panicking12catch_unwind", "4time7timeout", "11framed_impl"];

/// ring's C and assembler for what is encrypted and sealed all the time, by their files' names. The others connect.
const CIPHERS: &[&str] = &["aes", "ghash"];

/// The same, for who chooses what few choose.
const OTHER_CIPHERS: &[&str] = &["chacha", "poly1305"];

/// Of ring's C and assembler, what every router runs: hashes, and what looks at the processor.
const EVERYBODY: &str = "*sha256* *cpu_* *mem.o";

/// Between `_R` and a crate's name are at least so many characters and at most one less than so many: two to sixteen that say what kind
/// of thing it is, `Cs`, and a hash of ten or eleven. The name of a second crate cannot begin within them.
const BEFORE_THE_CRATE: std::ops::Range<usize> = 14..30;

/// The script. It adds to the one that linkers have.
pub fn script() -> String {
    // A function is where the first rule puts it: so what lies furthest behind comes first.
    let mut rarer = of_crates(CONNECTING_OTHERWISE);
    rarer.extend(OTHER_CIPHERS.iter().map(|name| of_ring_named(name)));
    rarer.push_str(&of_crates(SERVING));
    rarer.push_str(&of_crates(RADIUS));
    rarer.push_str(&of_crates(COMMANDS));
    rarer.push_str("*libunwind*:*(.text .text.*)\n");
    // What only a log at its most talkative or a test asks for.
    rarer.push_str("*(.text._RNvX*5Debug3fmt*)\n");

    // What rustc knows to be cold is for the greater part what is slow and runs now and then: waiting for a lock, more room for a list.
    let mut rare = "*(.text.unlikely.*)\n".to_owned();
    rare.push_str(&of_crates(AT_THE_START));
    rare.push_str(&of_crates(CONNECTED));
    rare.extend(MADE_FOR_MQTT.iter().map(|name| format!("*(.text._R*{name}*7rumqttc[0-9]*)\n")));
    rare.extend(CIPHERS.iter().map(|name| of_ring_named(name)));
    rare.push_str(&of_crates(CONNECTING));
    rare.push_str(&of_ring(".text"));

    // ring's tables, the largest of which is the curve's, lie among everybody's constants otherwise; and the tables for unwinding before
    // them, where each start looks at the program's own head.
    let tables = of_ring(".rodata") + "}\n.gcc_except_table :\n{\n*(.gcc_except_table .gcc_except_table.*)\n";
    [(".text.rarer", ".text", rarer), (".text.rare", ".text", rare), (".rodata.rare", ".rodata", tables)]
        .map(|(section, before, rules)| format!("SECTIONS\n{{\n{section} :\n{{\n{rules}}}\n}}\nINSERT AFTER {before};\n"))
        .concat()
}

/// What ring's C and assembler have in such a section, but for what is everybody's.
fn of_ring(section: &str) -> String {
    format!("*libring*:*(EXCLUDE_FILE({EVERYBODY}) {section} EXCLUDE_FILE({EVERYBODY}) {section}.*)\n")
}

/// All functions of its files of such a name.
fn of_ring_named(name: &str) -> String {
    format!("*libring*:*{name}*(.text .text.*)\n")
}

/// All functions of these crates and modules.
fn of_crates(names: &[&str]) -> String {
    // A digit follows, or what kind of thing it is: without, the name is only that of the crate which wanted the function, and others use it,
    // too.
    let rules =
        |name: &&str| BEFORE_THE_CRATE.map(|count| format!("*(.text._R{}_{name}[0-9IN]*)\n", "?".repeat(count))).collect::<String>();
    names.iter().map(rules).collect()
}
