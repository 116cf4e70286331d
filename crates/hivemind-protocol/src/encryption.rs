//! Which links are encrypted: what the user asks for, and what that means for two drones.
//!
//! Deliberately elsewhere: how a drone learns where it runs, the handshake and the records (the driver's).

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

/// What the user asks for. It must be the same on all drones.
///
/// ```
/// use hivemind_protocol::Encryption;
/// let auto: Encryption = "auto".parse().unwrap();
/// assert!(!auto.seals("boot 1, network 2", "boot 1, network 2"));
/// assert!(auto.seals("boot 1, network 2", "boot 9, network 2"));
/// assert!(auto.seals("", ""));
/// assert!("sometimes".parse::<Encryption>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// All links but those that stay on one machine.
    #[default]
    Auto,
    /// All links.
    Always,
    /// None: whoever sits on the path can read and change what passes.
    Never,
}

impl Encryption {
    /// Whether the link between two drones is encrypted. Each says on which machine it is; a drone that cannot
    /// tell, or sees its peer at another address than its own, says nothing (an empty string). Both ends come to
    /// the same answer.
    ///
    /// ```
    /// use hivemind_protocol::Encryption;
    /// assert!(Encryption::Auto.seals("one machine", "another"));
    /// assert!(!Encryption::Auto.seals("one machine", "one machine"));
    /// ```
    pub fn seals(self, machine: &str, other_machine: &str) -> bool {
        match self {
            Self::Auto => machine.is_empty() || machine != other_machine,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

impl FromStr for Encryption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err("auto, always or never".to_owned()),
        }
    }
}

impl fmt::Display for Encryption {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn both_ends_come_to_the_same_answer() {
        for encryption in [Encryption::Auto, Encryption::Always, Encryption::Never] {
            for (one, other) in [("", ""), ("a", ""), ("a", "a"), ("a", "b")] {
                assert_eq!(
                    encryption.seals(one, other),
                    encryption.seals(other, one),
                    "{encryption} between `{one}` and `{other}`"
                );
            }
        }
    }

    #[test]
    fn only_never_leaves_two_machines_in_the_clear() {
        assert!(Encryption::Auto.seals("a", "b"));
        assert!(Encryption::Always.seals("a", "a"));
        assert!(!Encryption::Never.seals("a", "b"));
    }

    #[test]
    fn words_and_values_are_the_same() {
        for encryption in [Encryption::Auto, Encryption::Always, Encryption::Never] {
            assert_eq!(encryption.to_string().parse(), Ok(encryption));
        }
    }
}
