//! Which ways of saving messages and faults a drone uses, by name. What each does lives in the file of its name: `ahead`, `push`,
//! `early`, `grant`, `again`, `rhythm`.

/// Which ways of saving messages and faults are in use. All are, unless a measurement asks what one of them brings.
///
/// ```
/// use hivemind_protocol::Economies;
/// let all = Economies::default();
/// assert!(all.fetch_ahead && all.push && all.early && all.pages_on_grants && all.rhythm && all.again.is_some());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Economies {
    /// Pages come ahead of a program that walks through memory (`ahead`).
    pub fetch_ahead: bool,
    /// Pages that a drone fetches after each epoch are sent to it unasked (`push`).
    pub push: bool,
    /// Of these pages, those that only their home wrote go with its arrival, not after the departure (`early`).
    pub early: bool,
    /// Pages that a drone touches under a lock come with it (`grant`).
    pub pages_on_grants: bool,
    /// A hot lock's next wish rides on the grant, once its drone has come back at once so often in a row (`again`).
    pub again: Option<u8>,
    /// Pages that are stored to in a rhythm are opened for the next store when it is due (`rhythm`).
    pub rhythm: bool,
}

impl Economies {
    /// Their names where a person writes them.
    ///
    /// ```
    /// use hivemind_protocol::Economies;
    /// assert!(Economies::NAMES.iter().all(|name| Economies::without(name).is_ok()));
    /// ```
    pub const NAMES: [&str; 6] = [
        "fetch-ahead",
        "push",
        "early",
        "pages-on-grants",
        "again",
        "rhythm",
    ];

    /// All of them but those listed, by [name](Self::NAMES) with commas between.
    ///
    /// ```
    /// use hivemind_protocol::Economies;
    /// let economies = Economies::without("push,pages-on-grants")?;
    /// assert!(economies.fetch_ahead && !economies.push && !economies.pages_on_grants);
    /// assert!(Economies::without("prayer").is_err());
    /// # Ok::<(), &str>(())
    /// ```
    ///
    /// # Errors
    /// The first name that is none of them.
    pub fn without(list: &str) -> Result<Self, &str> {
        let mut economies = Self::default();
        for name in list.split(',').map(str::trim) {
            match name {
                "fetch-ahead" => economies.fetch_ahead = false,
                "push" => economies.push = false,
                "early" => economies.early = false,
                "pages-on-grants" => economies.pages_on_grants = false,
                "again" => economies.again = None,
                "rhythm" => economies.rhythm = false,
                _ => return Err(name),
            }
        }
        Ok(economies)
    }
}

impl Default for Economies {
    fn default() -> Self {
        Self {
            fetch_ahead: true,
            push: true,
            early: true,
            pages_on_grants: true,
            again: Some(3),
            rhythm: true,
        }
    }
}
