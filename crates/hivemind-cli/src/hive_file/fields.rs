//! The values that stand in a hive file: each knows its form, and says what is allowed when it has another.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use hivemind::settings::{parse_size, parse_time};

/// The longest name of a host or user, and the longest address.
const NAME_BYTES_MAX: usize = 255;

/// A host as ssh is to be told of it: a name of DNS or of `~/.ssh/config`, or an address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct HostName(String);

/// A user of a host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct UserName(String);

/// One port, or a range of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(into = "String")]
pub(crate) struct Ports {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

/// A size in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Size(pub(crate) u64);

/// A span of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Time(pub(crate) Duration);

impl HostName {
    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for HostName {
    type Err = String;

    /// Nothing that ssh or a shell could take for something else than a name.
    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-:%".contains(letter);
        if is_word(text) && text.chars().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "`{text}` is no name of a host; write a name that `ssh` knows, or an address"
            ))
        }
    }
}

impl UserName {
    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-\\@+".contains(letter);
        if is_word(text) && text.chars().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "`{text}` is no name of a user; write the one to log in as"
            ))
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.starts_with('-')
}

impl From<Ports> for String {
    fn from(ports: Ports) -> Self {
        ports.to_string()
    }
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(Self { first, last }),
            _ => Err(format!(
                "`{text}` is no port; write one from 1 to 65535, or a range as in 7000-7099"
            )),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(formatter, "{}", self.first)
        } else {
            write!(formatter, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_size(text)
            .map(Self)
            .map_err(|error| error.to_string())
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_time(text)
            .map(Self)
            .map_err(|error| error.to_string())
    }
}

/// Reads a value from its text, or from a bare number that stands for the same text.
struct Reader<T> {
    expected: &'static str,
    value: PhantomData<T>,
}

impl<T: FromStr<Err = String>> Visitor<'_> for Reader<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

/// What a field looks like in a file, and in the schema.
macro_rules! field {
    ($type:ty, $expected:literal, $read:ident, $schema:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.$read(Reader {
                    expected: $expected,
                    value: PhantomData,
                })
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

field!(HostName, "a name that `ssh` knows, or an address", deserialize_str, {
    "description": "A name that `ssh` knows, or an address.",
    "type": "string",
    "pattern": "^[A-Za-z0-9._:%][A-Za-z0-9._:%-]*$",
    "maxLength": 255
});
field!(UserName, "the name of a user", deserialize_str, {
    "description": "The user to log in as.",
    "type": "string",
    "minLength": 1,
    "maxLength": 255
});
field!(Ports, "a port from 1 to 65535, or a range as in \"7000-7099\"", deserialize_any, {
    "description": "A port, or a range of ports as in \"7000-7099\".",
    "anyOf": [
        { "type": "integer", "minimum": 1, "maximum": 65535 },
        { "type": "string", "pattern": "^[0-9]{1,5}(-[0-9]{1,5})?$" }
    ]
});
field!(Size, "a size as in \"64M\" or \"8GiB\"", deserialize_any, {
    "description": "A size as in \"64M\" or \"8GiB\"; a bare number counts bytes. Units are powers of 1024.",
    "anyOf": [
        { "type": "integer", "minimum": 1 },
        { "type": "string", "pattern": "^[0-9]+ *([KMGTkmgt]?([iI]?[bB])?)$" }
    ]
});
field!(Time, "a time as in \"500ms\", \"30s\" or \"24h\"", deserialize_any, {
    "description": "A time as in \"500ms\", \"30s\", \"5m\" or \"24h\"; a bare number counts seconds.",
    "anyOf": [
        { "type": "integer", "minimum": 1 },
        { "type": "string", "pattern": "^[0-9]+ *(ms|s|m|min|h|d)?$" }
    ]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_ssh_could_misread_are_refused() {
        for name in ["a", "node-1.example.org", "10.0.0.1", "fe80::1%eth0"] {
            assert!(name.parse::<HostName>().is_ok(), "{name}");
        }
        for name in [
            "",
            "-oProxyCommand=x",
            "a b",
            "a;b",
            "a\n",
            "$x",
            "a/b",
            &"x".repeat(256),
        ] {
            assert!(name.parse::<HostName>().is_err(), "{name}");
        }
        assert!("-l".parse::<UserName>().is_err());
    }

    #[test]
    fn ports_are_one_or_a_range() {
        assert_eq!(
            "7000".parse(),
            Ok(Ports {
                first: 7000,
                last: 7000
            })
        );
        let range: Ports = "7000-7099".parse().expect("a range");
        assert_eq!(
            (range.first, range.last, range.to_string().as_str()),
            (7000, 7099, "7000-7099")
        );
        for wrong in ["", "0", "0-5", "5-4", "70000", "1-70000", "a"] {
            assert!(wrong.parse::<Ports>().is_err(), "{wrong}");
        }
    }
}
