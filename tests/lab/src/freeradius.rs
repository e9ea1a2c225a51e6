//! A real FreeRADIUS with the configuration that operators are given (`docs/freeradius`): in a network namespace, with files of
//! its own. The machine's own configuration and service are not touched.

use crate::authority::Authority;
use crate::net::Namespace;
use crate::postgres;
use crate::process::{PATIENCE, Program};
use crate::rights;
use crate::tool;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// Where it is asked for logins.
pub const AUTH_PORT: u16 = 1812;
/// Where it takes accounting.
pub const ACCT_PORT: u16 = 1813;
/// Where it takes both over TLS.
pub const RADSEC_PORT: u16 = 2083;

/// Debian's own tables, as FreeRADIUS ships them.
const QUERIES: &str = "/etc/freeradius/3.0/mods-config/sql/main";

macro_rules! shipped {
    ($($name:literal),+) => { [$(($name, include_str!(concat!("../../../docs/freeradius/", $name)))),+] };
}

/// What operators are given, without what differs from place to place (`site.conf`, `clients.conf`, `user.conf`).
const SHIPPED: [(&str, &str); 9] = shipped!(
    "radiusd.conf",
    "lango.conf",
    "tables.conf",
    "dictionary",
    "signature.conf",
    "sqlite/database.conf",
    "sqlite/ask.conf",
    "postgresql/database.conf",
    "postgresql/ask.conf"
);
const RADSEC: &str = include_str!("../../../docs/freeradius/radsec.conf");

/// Where its tables are.
#[derive(Debug, Clone)]
pub enum Tables {
    /// A file of its own.
    Sqlite,
    /// A database as [`postgres::database`] gives it: `postgres://…?host=FOLDER`.
    Postgres(String),
}

/// How it behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address that it listens on; one of the namespace's.
    pub address: String,
    /// Who may ask, by address or network, each with its secret.
    pub clients: Vec<(String, String)>,
    /// Questions without Message-Authenticator are dropped.
    pub requires_signature: bool,
    /// Its answers carry Message-Authenticator; an old server's do not.
    pub signs: bool,
    /// Takes RADIUS over TLS, too. With `true` inside it asks for the client's certificate.
    pub radsec: Option<bool>,
    /// Where its tables are.
    pub tables: Tables,
    /// After so many seconds without a word a session holds no device's place.
    pub silent: u32,
    /// Says in its log what it does and why. Under a load that alone takes more of the machine than all else that it does.
    pub verbose: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: "127.0.0.1".to_owned(),
            clients: vec![("0.0.0.0/0".to_owned(), "lab-radius-secret".to_owned())],
            requires_signature: true,
            signs: true,
            radsec: None,
            tables: Tables::Sqlite,
            silent: 900,
            verbose: true,
        }
    }
}

/// What `radclient` got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// As `Access-Accept`.
    pub code: String,
    /// The attributes in their order, values as the dictionary shows them, without quotes.
    pub attributes: Vec<(String, String)>,
}

impl Answer {
    /// The first attribute of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

/// The server. It ends when it is dropped; a world of its own goes with it.
pub struct FreeRadius {
    /// Its process, started with its debugging output in the log.
    pub program: Program,
    /// Where it runs.
    pub namespace: Namespace,
    /// Its configuration.
    pub folder: PathBuf,
    /// How it was started.
    pub options: Options,
    /// For RadSec: certificates for it and for its clients.
    pub authority: Authority,
    _alone: Option<Alone>,
}

/// A namespace with nothing but its loopback.
struct Alone(String);

impl Drop for Alone {
    fn drop(&mut self) {
        rights::remove(&self.0);
    }
}

impl FreeRadius {
    /// Prepares it in a namespace, with its configuration in `folder/freeradius`. [`FreeRadius::start`] starts it.
    ///
    /// # Errors
    /// When its files cannot be written, or it is not installed.
    pub fn new(namespace: &Namespace, folder: &Path, options: Options) -> Result<Self> {
        let home = folder.join("freeradius");
        for part in ["", "sqlite", "postgresql", "certificates"] {
            fs::create_dir(home.join(part))?;
        }
        for (name, text) in SHIPPED {
            fs::write(home.join(name), text)?;
        }
        let authority = Authority::new("The lab's RADIUS authority")?;
        authority.write(&home.join("certificates"), "server", &options.address)?;
        if options.radsec.is_some() {
            fs::write(home.join("radsec.conf"), RADSEC)?;
        }
        if !options.signs {
            fs::write(home.join("signature.conf"), "# An old server's answers are not signed.\n")?;
        }
        let words = if options.verbose { "-fxx" } else { "-f" };
        let args = [words, "-l", "stdout", "-n", "radiusd", "-d", home.to_str().context("its folder is text")?];
        let program = Program::new(namespace, &tool::path("freeradius")?, &args, &folder.join("freeradius.log"));
        let server = Self { program, namespace: namespace.clone(), folder: home, options, authority, _alone: None };
        server.write_clients()?;
        server.write_site()?;
        server.make_tables()?;
        Ok(server)
    }

    /// A running one in a namespace of its own, which nobody else is in.
    ///
    /// # Panics
    /// When it does not start: with the end of its log.
    #[must_use]
    pub fn alone(options: Options) -> Self {
        Self::try_alone(options).unwrap_or_else(|e| panic!("{e:#}"))
    }

    fn try_alone(options: Options) -> Result<Self> {
        static SERVERS: AtomicU32 = AtomicU32::new(1);
        rights::ensure()?;
        let name = format!("{}{}-radius{}", rights::PREFIX, std::process::id(), SERVERS.fetch_add(1, Ordering::Relaxed));
        rights::register(&name);
        let alone = Alone(name.clone());
        let folder = rights::folder(&name);
        fs::create_dir(&folder).with_context(|| format!("{}", folder.display()))?;
        let namespace = Namespace::create(&format!("{name}-host"))?;
        let server = Self { _alone: Some(alone), ..Self::new(&namespace, &folder, options)? };
        server.start()?;
        Ok(server)
    }

    fn write_clients(&self) -> Result<()> {
        let required = if self.options.requires_signature { "yes" } else { "no" };
        let mut text = String::new();
        // From its own address the lab asks with the first client's secret, whoever else may ask.
        let me = [(self.options.address.clone(), self.secret().to_owned())];
        let others = self.options.clients.iter().filter(|(from, _)| *from != self.options.address);
        for (number, (from, secret)) in others.chain(&me).enumerate() {
            text += &format!(
                "client lab{number} {{\n\tipaddr = {from}\n\tsecret = {secret}\n\trequire_message_authenticator = {required}\n}}\n"
            );
        }
        Ok(fs::write(self.folder.join("clients.conf"), text)?)
    }

    fn write_site(&self) -> Result<()> {
        let home = self.folder.display();
        let (kind, server, name) = match &self.options.tables {
            Tables::Sqlite => ("sqlite", "-", "-"),
            Tables::Postgres(url) => {
                let (name, folder) = url
                    .strip_prefix("postgres://postgres@localhost/")
                    .and_then(|rest| rest.split_once("?host="))
                    .with_context(|| format!("{url} is no database of the lab"))?;
                ("postgresql", folder, name)
            }
        };
        let Options { address, silent, radsec, .. } = &self.options;
        let certificates = if radsec == &Some(true) { "yes" } else { "no" };
        let text = format!(
            "site {{\n\tdatabase = {kind}\n\tsqlite {{\n\t\tfile = {home}/radius.db\n\t}}\n\
             \tpostgresql {{\n\t\tserver = {server}\n\t\tport = 5432\n\t\tlogin = postgres\n\t\tpassword = unused\n\t\tname = {name}\n\t}}\n\
             \taddress = {address}\n\tauth_port = {AUTH_PORT}\n\tacct_port = {ACCT_PORT}\n\tradsec_port = {RADSEC_PORT}\n\
             \tradsec_certificates = {certificates}\n\tqueries = {QUERIES}\n\tlogs = {home}\n\trun = {home}\n\tsilent = {silent}\n}}\n"
        );
        Ok(fs::write(self.folder.join("site.conf"), text)?)
    }

    /// FreeRADIUS's own schema, where the tables are not there yet.
    fn make_tables(&self) -> Result<()> {
        match &self.options.tables {
            Tables::Sqlite if self.database_file().exists() => Ok(()),
            Tables::Sqlite => self.execute(&schema("sqlite")?),
            Tables::Postgres(_) if self.query("SELECT 1 AS one FROM pg_tables WHERE tablename = 'radcheck'")?.is_empty() => {
                self.execute(&schema("postgresql")?)
            }
            Tables::Postgres(_) => Ok(()),
        }
    }

    /// Starts it, and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(&self) -> Result<()> {
        self.program.start()?;
        self.program.ready_when("FreeRADIUS to answer Status-Server", || {
            let asked = self.radclient(&self.namespace, AUTH_PORT, "status", "Message-Authenticator = 0x00", 1);
            asked.is_ok_and(|answer| answer.is_some_and(|answer| answer.code == "Access-Accept"))
        })
    }

    /// Ends it as its service would.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&self) -> Result<()> {
        self.program.terminate().map(drop)
    }

    /// The database's address as the relay's `[radius_sql]` has it.
    #[must_use]
    pub fn database(&self) -> String {
        match &self.options.tables {
            Tables::Sqlite => format!("sqlite://{}", self.database_file().display()),
            Tables::Postgres(url) => url.clone(),
        }
    }

    fn database_file(&self) -> PathBuf {
        self.folder.join("radius.db")
    }

    /// Executes statements.
    ///
    /// # Errors
    /// When the database refuses them.
    pub fn execute(&self, sql: &str) -> Result<()> {
        match &self.options.tables {
            Tables::Sqlite => sqlite(&self.database_file(), &[], sql).map(drop),
            Tables::Postgres(url) => postgres::psql(url, sql).map(drop),
        }
    }

    /// The rows of a `SELECT` (no semicolon), each an object by column (PostgreSQL: lower case).
    ///
    /// # Errors
    /// When the database refuses it.
    pub fn query(&self, select: &str) -> Result<Vec<Value>> {
        let text = match &self.options.tables {
            Tables::Sqlite => sqlite(&self.database_file(), &["-json"], select)?,
            Tables::Postgres(url) => postgres::psql(url, &format!("SELECT COALESCE(json_agg(found), '[]') FROM ({select}) AS found"))?,
        };
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        serde_json::from_str(&text).with_context(|| format!("{select}: {text}"))
    }

    /// A user's rows, beside those that are there: check items and reply items, with `:=`.
    ///
    /// # Errors
    /// When the database refuses them.
    pub fn user(&self, name: &str, password: &str, check: &[(&str, &str)], reply: &[(&str, &str)]) -> Result<()> {
        let mut sql = String::new();
        let items = [("Cleartext-Password", password)];
        let rows = items.iter().chain(check).map(|item| ("radcheck", item)).chain(reply.iter().map(|item| ("radreply", item)));
        for (table, (attribute, value)) in rows {
            let value = value.replace('\'', "''");
            sql += &format!("INSERT INTO {table} (username, attribute, op, value) VALUES ('{name}', '{attribute}', ':=', '{value}');\n");
        }
        self.execute(&sql)
    }

    /// The sessions table, in the order in which its rows were made; times are seconds since 1970.
    ///
    /// # Panics
    /// When the table cannot be read.
    #[must_use]
    pub fn sessions(&self) -> Vec<Value> {
        let (address, time) = match &self.options.tables {
            Tables::Sqlite => ("nasipaddress", ["acctstarttime", "acctupdatetime", "acctstoptime"].map(str::to_owned)),
            Tables::Postgres(_) => (
                "host(nasipaddress) AS nasipaddress",
                ["acctstarttime", "acctupdatetime", "acctstoptime"]
                    .map(|column| format!("EXTRACT(EPOCH FROM {column})::bigint AS {column}")),
            ),
        };
        let [start, update, stop] = time;
        self.query(&format!(
            "SELECT acctsessionid, acctuniqueid, username, {address}, nasportid, {start}, {update}, {stop}, acctsessiontime, \
             acctinputoctets, acctoutputoctets, calledstationid, callingstationid, acctterminatecause FROM radacct ORDER BY radacctid"
        ))
        .unwrap_or_else(|e| panic!("{e:#}"))
    }

    /// The first client's secret.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.options.clients[0].1
    }

    /// Asks for a login: `pairs` as `User-Name=ab,User-Password=cd`. From the server's own address.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn login(&self, pairs: &str) -> Answer {
        self.must_answer(AUTH_PORT, "auth", &format!("{pairs},Message-Authenticator=0x00"))
    }

    /// Tells of a session. From the server's own address.
    ///
    /// # Panics
    /// When it is not acknowledged.
    pub fn account(&self, pairs: &str) {
        let answer = self.must_answer(ACCT_PORT, "acct", pairs);
        assert_eq!(answer.code, "Accounting-Response", "{pairs}");
    }

    fn must_answer(&self, port: u16, kind: &str, pairs: &str) -> Answer {
        match self.radclient(&self.namespace, port, kind, pairs, PATIENCE.as_secs()) {
            Ok(Some(answer)) => answer,
            Ok(None) => panic!("no answer to {kind} {pairs}\n{}", self.program.tail(60)),
            Err(error) => panic!("{error:#}"),
        }
    }

    /// Asks with FreeRADIUS's own client from a host, for at most so many seconds. None: no answer.
    ///
    /// # Errors
    /// When `radclient` is not installed or does not understand the pairs.
    pub fn radclient(&self, from: &Namespace, port: u16, kind: &str, pairs: &str, seconds: u64) -> Result<Option<Answer>> {
        radclient(from, &format!("{}:{port}", self.options.address), kind, self.secret(), pairs, seconds)
    }
}

/// FreeRADIUS's own client: `kind` is `auth`, `acct`, `status`, `disconnect` or `coa`. It asks each second, for at most so many seconds.
/// None: no answer.
///
/// # Errors
/// When it is not installed or does not understand the pairs.
pub fn radclient(from: &Namespace, server: &str, kind: &str, secret: &str, pairs: &str, seconds: u64) -> Result<Option<Answer>> {
    let args = ["-x", "-t", "1", "-r", &seconds.to_string(), server, kind, secret].map(str::to_owned);
    let mut command = from.command(&tool::path("radclient")?, &args)?;
    let began = Instant::now();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("it was asked for")?.write_all(format!("{pairs}\n").as_bytes())?;
    // Its exit code says "no" for a refusal, too: what it printed tells.
    let output = child.wait_with_output()?;
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
    if !said.contains("Sent ") {
        bail!("radclient did not understand {pairs:?} after {:?}: {wrong}{said}", began.elapsed());
    }
    Ok(answer_in(&said))
}

/// Reads what `radclient -x` prints.
fn answer_in(text: &str) -> Option<Answer> {
    let (_, received) = text.split_once("Received ")?;
    let mut lines = received.lines();
    let code = lines.next()?.split(' ').next()?.to_owned();
    let pairs = lines.take_while(|line| line.starts_with('\t')).filter_map(|line| line.trim().split_once(" = "));
    let attributes = pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect();
    Some(Answer { code, attributes })
}

/// FreeRADIUS's own schema for `sqlite` or `postgresql`, as Debian ships it.
///
/// # Errors
/// When it is not installed.
pub fn schema(kind: &str) -> Result<String> {
    let path = format!("{QUERIES}/{kind}/schema.sql");
    fs::read_to_string(&path).with_context(|| format!("{path}; on Debian: apt-get install freeradius freeradius-postgresql"))
}

/// Runs SQL on a SQLite file; gives back what it printed, without headers.
///
/// # Errors
/// When SQLite refuses it, or its command is not installed.
pub fn sqlite(file: &Path, options: &[&str], sql: &str) -> Result<String> {
    // It and the server write in turns.
    let mut args = vec!["-batch", "-bail", "-cmd", ".timeout 10000"];
    args.extend(options);
    args.push(file.to_str().context("the file's path is text")?);
    tool::run_with_input("sqlite3", args, sql.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_radclient_prints() {
        let text = "Sent Access-Request Id 1 from 0.0.0.0:1 to 127.0.0.1:1812 length 67\n\tUser-Name = \"u\"\n\
                    Received Access-Reject Id 1 from 127.0.0.1:1812 to 127.0.0.1:1 length 86\n\tReply-Message = \"No more.\"\n\
                    \tSession-Timeout = 60\n(0) -: Expected Access-Accept got Access-Reject\n";
        let answer = answer_in(text).unwrap();
        assert_eq!(
            (answer.code.as_str(), answer.get("Reply-Message"), answer.get("Session-Timeout")),
            ("Access-Reject", Some("No more."), Some("60"))
        );
        assert_eq!(answer.attributes.len(), 2);
        assert_eq!(answer_in("Sent Access-Request Id 1\n\tUser-Name = \"u\"\n(0) No reply\n"), None);
    }
}
