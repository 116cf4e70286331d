//! The configuration of the 2018 system, which the report describes: a list of drones with addresses, ports
//! and logins. The first drone manages and ids go in list order, so every line of the list is one drone.
//!
//! It had passwords in it. They are refused: a file with a password in it is a password lost.

use serde::Deserialize;
use serde_json::Value;

use super::{HiveFile, HostEntry, HostName, SshEntry, UserName, at};

const KEYS: [&str; 5] = ["IsCBM", "NrProc", "Drones", "CBM", "DroneList"];

/// Whether a file is meant in this form.
pub(super) fn is_meant(value: &Value) -> bool {
    KEYS.iter().any(|key| value.get(key).is_some())
}

/// The file as a whole.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Report {
    /// Which machine the file lay on; all machines are told the same now.
    #[serde(rename = "IsCBM", default)]
    _is_manager: Option<bool>,
    #[serde(rename = "NrProc", default)]
    processes: Option<u32>,
    #[serde(rename = "Drones", default)]
    drones: Vec<Login>,
    #[serde(rename = "CBM", default)]
    manager: Option<String>,
    #[serde(rename = "DroneList", default)]
    list: Vec<Seat>,
}

/// A drone that is to be deployed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    #[serde(rename = "Address")]
    address: HostName,
    /// Where sshd listens.
    #[serde(rename = "Port", default, deserialize_with = "port")]
    port: Option<u16>,
    #[serde(rename = "Username", default, deserialize_with = "user")]
    user: Option<UserName>,
    #[serde(rename = "Password", default)]
    password: Option<String>,
}

/// A drone that is known already.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seat {
    #[serde(rename = "Address")]
    address: String,
    #[serde(rename = "PID")]
    number: u32,
}

impl Report {
    /// The same hive in today's form.
    pub(super) fn into_file(self) -> Result<HiveFile, String> {
        let logins = if self.drones.is_empty() {
            seats(&self.list)?
        } else {
            self.drones
        };
        for (number, login) in logins.iter().enumerate() {
            login.check(number)?;
        }
        if let (Some(manager), Some(first)) = (&self.manager, logins.first())
            && !manager.is_empty()
            && host_of(manager) != first.address.as_str()
        {
            return Err(at(
                "CBM",
                &format!(
                    "{manager} is not the first drone of the list ({}); the first one manages, so put it there",
                    first.address
                ),
            ));
        }
        Ok(HiveFile {
            hosts: logins.into_iter().map(Login::into_host).collect(),
            drones: self.processes,
            ..HiveFile::default()
        })
    }
}

impl Login {
    fn check(&self, number: usize) -> Result<(), String> {
        if self.password.as_ref().is_none_or(String::is_empty) {
            return Ok(());
        }
        Err(at(
            &format!("Drones[{number}].Password"),
            &format!(
                "passwords in files are refused; ssh logs in with keys: `ssh-keygen -t ed25519` makes one, \
                 `ssh-copy-id {}` brings it there, once. Then take the password out of this file, and change it",
                self.address
            ),
        ))
    }

    fn into_host(self) -> HostEntry {
        HostEntry {
            drones: Some(1),
            ssh: SshEntry {
                user: self.user,
                port: self.port,
                key: None,
            },
            ..HostEntry::named(self.address)
        }
    }
}

/// A list without logins, when only that is there.
fn seats(list: &[Seat]) -> Result<Vec<Login>, String> {
    let login = |(place, seat): (usize, &Seat)| {
        if seat.number as usize != place {
            return Err(at(
                &format!("DroneList[{place}].PID"),
                &format!("ids go in list order, so {place} is allowed here"),
            ));
        }
        let address = host_of(&seat.address).parse();
        Ok(Login {
            address: address
                .map_err(|why: String| at(&format!("DroneList[{place}].Address"), &why))?,
            port: None,
            user: None,
            password: None,
        })
    };
    list.iter().enumerate().map(login).collect()
}

/// The host of an address that may have a port behind it.
fn host_of(address: &str) -> &str {
    match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.parse::<u16>().is_ok() => host,
        _ => address,
    }
}

/// A port, as a number or as text; none where nothing stands.
fn port<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    let text = match Value::deserialize(deserializer)? {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => text,
        other => other.to_string(),
    };
    match text.parse() {
        Ok(port @ 1..) => Ok(Some(port)),
        _ => Err(serde::de::Error::custom(format!(
            "{text} is no port; one from 1 to 65535 is allowed"
        ))),
    }
}

fn user<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<UserName>, D::Error> {
    match Option::<String>::deserialize(deserializer)? {
        Some(name) if !name.is_empty() => name.parse().map(Some).map_err(serde::de::Error::custom),
        _ => Ok(None),
    }
}
