//! What can happen next in a small world, and how a path of it is written down so that it can be replayed.

use hivemind_protocol::DroneId;
use std::fmt;
use std::str::FromStr;

/// One thing that happens: to one drone, whatever the others do.
///
/// ```
/// use hivemind_sim::explore::Move;
/// use hivemind_protocol::DroneId;
/// assert_eq!("x1".parse(), Ok(Move::Kill(DroneId(1))));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Move {
    /// A drone's program makes its next call or its next access: `0`.
    Step(DroneId),
    /// The message at the head of a link arrives: `0-1`.
    Deliver {
        /// The sender.
        from: DroneId,
        /// The receiver.
        to: DroneId,
        /// The receiver's program meanwhile makes its next store, so many calls of the core to its memory
        /// later: `0-1@2`.
        store_after: Option<u8>,
    },
    /// A drone dies, and what it sent last with it: `x1`.
    Kill(DroneId),
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(drone) => write!(f, "{}", drone.0),
            Self::Deliver {
                from,
                to,
                store_after,
            } => {
                write!(f, "{}-{}", from.0, to.0)?;
                match store_after {
                    Some(after) => write!(f, "@{after}"),
                    None => Ok(()),
                }
            }
            Self::Kill(drone) => write!(f, "x{}", drone.0),
        }
    }
}

impl FromStr for Move {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let wrong = || format!("{word} is no move: write 0, 0-1, 0-1@2 or x0");
        let drone = |text: &str| text.parse().map(DroneId).map_err(|_| wrong());
        if let Some(drone_killed) = word.strip_prefix('x') {
            return Ok(Self::Kill(drone(drone_killed)?));
        }
        let Some((from, rest)) = word.split_once('-') else {
            return Ok(Self::Step(drone(word)?));
        };
        let (to, store_after) = match rest.split_once('@') {
            Some((to, after)) => (to, Some(after.parse().map_err(|_| wrong())?)),
            None => (rest, None),
        };
        Ok(Self::Deliver {
            from: drone(from)?,
            to: drone(to)?,
            store_after,
        })
    }
}

/// Moves one after the other, as they stand behind `--path`.
///
/// ```
/// use hivemind_sim::explore::Path;
/// let path: Path = "0,0-1,1".parse()?;
/// assert_eq!(path.0.len(), 3);
/// assert_eq!(path.to_string(), "0,0-1,1");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Path(pub Vec<Move>);

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(Move::to_string).collect();
        f.write_str(&words.join(","))
    }
}

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = text.split(',').filter(|word| !word.is_empty());
        words
            .map(Move::from_str)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_it_is_written() {
        let text = "0,2-1,0-2@3,x1";
        let path: Path = text.parse().expect("a path");
        assert_eq!(path.0.len(), 4);
        assert_eq!(path.to_string(), text);
        assert!("0,1-,2".parse::<Path>().is_err());
        assert!("0-1@x".parse::<Path>().is_err());
    }
}
