//! The hive file: which hosts a job runs on and how, in JSON or TOML.
//!
//! Its form is a JSON Schema that `hivemind schema` prints and `docs/hive.schema.json` holds. The form of 2018
//! is read too, in `report`. Deliberately elsewhere: how drones are spread over the hosts (`placement`), and what
//! wins when the command line says something else (`options`).

mod fields;
mod report;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

pub(crate) use fields::{HostName, Ports, Size, Time, UserName};

use crate::options::{Bind, Encrypt, Engine, Transport};
use crate::trouble::{Trouble, USAGE};
use hivemind::settings::MAX_DRONES;

/// A longer file is none of ours.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// As many hosts as anybody will name.
pub(crate) const HOSTS_MAX: usize = 4096;

/// Which hosts a job runs on, and how. Options of the command line and environment variables win over it.
#[derive(Clone, PartialEq, Default, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "HiveMind hive file", extend("required" = ["hosts"]))]
pub(crate) struct HiveFile {
    /// The schema that this file follows; for editors.
    #[serde(rename = "$schema")]
    schema: Option<String>,
    /// The hosts, in the order of their drones. The first drone of the first host manages.
    #[serde(deserialize_with = "hosts")]
    #[schemars(length(min = 1, max = 4096))]
    pub(crate) hosts: Vec<HostEntry>,
    /// How many drones in all; without it as many as the hosts have places.
    #[serde(deserialize_with = "drones")]
    #[schemars(range(min = 1, max = 65536))]
    pub(crate) drones: Option<u32>,
    /// Threads a drone; without it the cores of the host divided by its drones.
    #[serde(deserialize_with = "drones")]
    #[schemars(range(min = 1, max = 65536))]
    pub(crate) threads: Option<u32>,
    /// How page faults are caught.
    pub(crate) engine: Option<Engine>,
    /// Which links between drones are encrypted; `never` is unsafe against whoever sits on the path.
    pub(crate) encrypt: Option<Encrypt>,
    /// What carries links between drones: `auto` takes shared memory between drones of one machine where they can share any,
    /// `shared` insists on it, `tcp` is TCP everywhere.
    pub(crate) transport: Option<Transport>,
    /// What each drone is bound to: its share of its host's cores, or nothing.
    pub(crate) bind: Option<Bind>,
    /// Size of the shared memory.
    pub(crate) region: Option<Size>,
    /// How much memory a drone's bookkeeping may take before it is tidied up.
    pub(crate) metadata_limit: Option<Size>,
    /// How long what may take.
    pub(crate) timeouts: Timeouts,
    /// The directory on each host for the traces of its drones; none are written without it.
    pub(crate) trace: Option<PathBuf>,
    /// Where programs are kept on the hosts, from the user's home; `.cache/hivemind` without it.
    pub(crate) cache: Option<PathBuf>,
    /// Where drones run on the hosts; without it in the same directory as the command where a host has it, and
    /// else in the user's home.
    pub(crate) directory: Option<PathBuf>,
}

/// How long what may take.
#[derive(Clone, PartialEq, Default, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Timeouts {
    /// The longest wait for an answer.
    pub(crate) wait: Option<Time>,
    /// A drone or host without a sign of life for this long is lost.
    pub(crate) silence: Option<Time>,
    /// All drones must be together by then.
    pub(crate) start: Option<Time>,
}

/// A host.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct HostEntry {
    /// What ssh calls it, and what it is called in every sentence.
    pub(crate) name: HostName,
    /// Where drones of other hosts reach its drones.
    pub(crate) address: Option<HostName>,
    /// The ports that its drones may listen at.
    pub(crate) ports: Option<Ports>,
    /// How many drones have a place there.
    pub(crate) drones: Option<u32>,
    /// Threads of each of its drones.
    pub(crate) threads: Option<u32>,
    /// What `~/.ssh/config` doesn't say.
    pub(crate) ssh: SshEntry,
    /// As in the file itself, for this host.
    pub(crate) cache: Option<PathBuf>,
    /// As in the file itself, for this host.
    pub(crate) directory: Option<PathBuf>,
}

/// How ssh gets to a host, where `~/.ssh/config` doesn't say.
#[derive(Clone, PartialEq, Default, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SshEntry {
    /// The user to log in as.
    pub(crate) user: Option<UserName>,
    /// The port where sshd listens.
    #[schemars(range(min = 1))]
    pub(crate) port: Option<u16>,
    /// The file of the private key.
    pub(crate) key: Option<PathBuf>,
}

/// A host where it is more than a name.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Host")]
struct HostTable {
    /// What ssh calls it, and what it is called in every sentence.
    name: HostName,
    /// Where drones of other hosts reach its drones; without it the address at which ssh reached it.
    #[serde(default)]
    address: Option<HostName>,
    /// The ports that its drones may listen at; without it any free one.
    #[serde(default)]
    ports: Option<Ports>,
    /// How many drones have a place there.
    #[serde(default, deserialize_with = "drones")]
    #[schemars(range(min = 1, max = 65536))]
    drones: Option<u32>,
    /// Threads of each of its drones.
    #[serde(default, deserialize_with = "drones")]
    #[schemars(range(min = 1, max = 65536))]
    threads: Option<u32>,
    /// What `~/.ssh/config` doesn't say.
    #[serde(default)]
    ssh: SshEntry,
    /// Where programs are kept on this host.
    #[serde(default)]
    cache: Option<PathBuf>,
    /// Where drones run on this host.
    #[serde(default)]
    directory: Option<PathBuf>,
}

impl HiveFile {
    /// Reads a file: TOML when its name ends so, JSON else; the form of 2018 is recognised by its keys.
    ///
    /// # Errors
    /// Names the file, the path inside it, and what is allowed there.
    pub(crate) fn read(path: &Path) -> Result<Self, Trouble> {
        let shown = path.display();
        let text = read_text(path).map_err(|why| {
            Trouble::new(USAGE, format!("cannot read the hive file {shown}: {why}"))
        })?;
        let is_toml = path.extension().is_some_and(|ending| ending == "toml");
        let file = if is_toml {
            Self::from_toml(&text)
        } else {
            Self::from_json(&text)
        };
        file.map_err(|why| Trouble::new(USAGE, format!("{shown}: {why}")))
    }

    fn from_toml(text: &str) -> Result<Self, String> {
        let reader = toml::Deserializer::parse(text).map_err(|error| error.to_string())?;
        serde_path_to_error::deserialize(reader)
            .map_err(|error| at(&error.path().to_string(), error.inner().message()))
            .and_then(Self::checked)
    }

    fn from_json(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| {
            format!("it is no JSON: {error}; a file in TOML has a name that ends in .toml")
        })?;
        if report::is_meant(&value) {
            let report: report::Report = from_value(value)?;
            return report.into_file().and_then(Self::checked);
        }
        from_value(value).and_then(Self::checked)
    }

    fn checked(self) -> Result<Self, String> {
        if self.hosts.is_empty() {
            return Err(at("hosts", "a hive needs at least one host"));
        }
        Ok(self)
    }

    /// Gives every host what the file says for all and the host doesn't say itself.
    pub(crate) fn settle(&mut self) {
        for host in &mut self.hosts {
            host.threads = host.threads.or(self.threads);
            host.cache = host.cache.take().or_else(|| self.cache.clone());
            host.directory = host.directory.take().or_else(|| self.directory.clone());
        }
    }

    /// The published schema.
    pub(crate) fn schema() -> String {
        let schema = schemars::schema_for!(Self);
        let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain data");
        text.push('\n');
        text
    }
}

impl HostEntry {
    /// A host of which only the name is known.
    pub(crate) fn named(name: HostName) -> Self {
        Self {
            name,
            address: None,
            ports: None,
            drones: None,
            threads: None,
            ssh: SshEntry::default(),
            cache: None,
            directory: None,
        }
    }

    /// Reads `NAME`, `NAME:DRONES`, `USER@NAME` or `[ADDRESS]:DRONES`, as `--hosts` has them.
    ///
    /// # Errors
    /// One sentence that says what is allowed.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user.parse()?), rest),
            None => (None, text),
        };
        let (name, count) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((name, "")) => (name, None),
            Some((name, count)) => (name, Some(count.strip_prefix(':').unwrap_or(count))),
            // More than one colon: an address of IPv6 without drones.
            None if rest.matches(':').count() > 1 => (rest, None),
            None => match rest.split_once(':') {
                Some((name, count)) => (name, Some(count)),
                None => (rest, None),
            },
        };
        let mut entry = Self::named(name.parse()?);
        entry.ssh.user = user;
        entry.drones = count.map(parse_drones).transpose()?;
        Ok(entry)
    }
}

fn parse_drones(text: &str) -> Result<u32, String> {
    match text.trim().parse() {
        Ok(number) if (1..=MAX_DRONES).contains(&number) => Ok(number),
        _ => Err(format!(
            "`{text}` is no number of drones; write one from 1 to {MAX_DRONES}, as in a:4"
        )),
    }
}

/// A host is a table, or a word as in `--hosts`.
impl<'de> Deserialize<'de> for HostEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = HostEntry;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter
                    .write_str("a host: its name, as in \"a\" or \"a:4\", or a table with `name`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<HostEntry, E> {
                HostEntry::parse(text).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HostEntry, A::Error> {
                let table = HostTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(HostEntry {
                    name: table.name,
                    address: table.address,
                    ports: table.ports,
                    drones: table.drones,
                    threads: table.threads,
                    ssh: table.ssh,
                    cache: table.cache,
                    directory: table.directory,
                })
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for HostEntry {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HostEntry".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<HostTable>();
        json_schema!({
            "description": "A host: a word as in \"a\", \"a:4\" or \"user@a:4\", or a table.",
            "anyOf": [{ "type": "string", "minLength": 1 }, table]
        })
    }
}

fn hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<HostEntry>, D::Error> {
    let hosts = Vec::<HostEntry>::deserialize(deserializer)?;
    if hosts.len() > HOSTS_MAX {
        return Err(D::Error::custom(format!(
            "{} hosts are too many; {HOSTS_MAX} are allowed",
            hosts.len()
        )));
    }
    Ok(hosts)
}

fn drones<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let number = Option::<u32>::deserialize(deserializer)?;
    match number {
        Some(number) if !(1..=MAX_DRONES).contains(&number) => Err(D::Error::custom(format!(
            "{number} is out of range; a number from 1 to {MAX_DRONES} is allowed"
        ))),
        _ => Ok(number),
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err("it is longer than a megabyte".into());
    }
    Ok(text)
}

fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| at(&error.path().to_string(), &error.inner().to_string()))
}

/// What is wrong, and where in the file.
fn at(path: &str, what: &str) -> String {
    match path {
        "." | "" => what.to_owned(),
        path => format!("{path}: {what}"),
    }
}

#[cfg(test)]
mod tests;
