//! What carries links: what the user asks for, and what that means for two drones.
//!
//! Deliberately elsewhere: how two drones come to share memory, and the links themselves (the driver's).

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

/// What the user asks for. It must be the same on all drones.
///
/// ```
/// use hivemind_protocol::Transport;
/// let auto: Transport = "auto".parse().unwrap();
/// assert!(auto.tries_to_share("boot 1, network 2", "boot 1, network 2"));
/// assert!(!auto.tries_to_share("boot 1, network 2", "boot 9, network 2"));
/// assert!("pigeons".parse::<Transport>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Shared memory between drones of one machine that can reach each other's, TCP between all others.
    #[default]
    Auto,
    /// TCP everywhere.
    Tcp,
    /// As `Auto`; but drones of one machine that cannot share memory don't start.
    Shared,
}

impl Transport {
    /// Whether two drones try to share memory. Each says on which machine it is, or nothing where it cannot tell (see
    /// [`Encryption::seals`](crate::Encryption::seals)). Both ends come to the same answer.
    ///
    /// ```
    /// use hivemind_protocol::Transport;
    /// assert!(!Transport::Shared.tries_to_share("", ""));
    /// assert!(!Transport::Tcp.tries_to_share("one machine", "one machine"));
    /// ```
    pub fn tries_to_share(self, machine: &str, other_machine: &str) -> bool {
        self != Self::Tcp && !machine.is_empty() && machine == other_machine
    }
}

impl FromStr for Transport {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "tcp" => Ok(Self::Tcp),
            "shared" => Ok(Self::Shared),
            _ => Err("auto, tcp or shared".to_owned()),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Auto => "auto",
            Self::Tcp => "tcp",
            Self::Shared => "shared",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    const ALL: [Transport; 3] = [Transport::Auto, Transport::Tcp, Transport::Shared];

    #[test]
    fn both_ends_come_to_the_same_answer() {
        for transport in ALL {
            for (one, other) in [("", ""), ("a", ""), ("a", "a"), ("a", "b")] {
                assert_eq!(
                    transport.tries_to_share(one, other),
                    transport.tries_to_share(other, one),
                    "{transport} between `{one}` and `{other}`"
                );
            }
        }
    }

    #[test]
    fn nobody_tries_to_share_with_another_machine() {
        for transport in ALL {
            assert!(!transport.tries_to_share("a", "b"));
            assert!(!transport.tries_to_share("", ""));
        }
        assert!(Transport::Auto.tries_to_share("a", "a"));
        assert!(!Transport::Tcp.tries_to_share("a", "a"));
    }

    #[test]
    fn words_and_values_are_the_same() {
        for transport in ALL {
            assert_eq!(transport.to_string().parse(), Ok(transport));
        }
    }
}
