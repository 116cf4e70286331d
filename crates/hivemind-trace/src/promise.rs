//! What the protocol promises, seen in the traces of all its drones: what is received was sent, links keep the order,
//! waits begin before they end, nobody leaves a meeting early, and a lock is had by one drone at a time.
//!
//! Needs the whole logs: in a window, the other half of a pair may be missing.

use crate::check::breach_at;
use crate::{Breach, Happening, Located, Rule, TraceClock};
use std::collections::{BTreeMap, BTreeSet};

/// Holds the logs of all drones together to the rules from [`Rule::Sent`] on. Texts that do not use the words of
/// [`Happening`] are passed over.
///
/// ```
/// use hivemind_trace::{Rule, check_promises, read, shiviz};
/// let log = |events: &str| read(&(shiviz::head() + events)).events;
/// let one = log("d0 {\"d0\":1}\nends left_out=0\n");
/// let two = log("d1 {\"d1\":1}\ngets Ack from=d0 no=1 bytes=4\n");
/// let (at, breach) = check_promises(&[&one, &two]).unwrap_err();
/// assert_eq!((at, breach.rule), (1, Rule::Sent)); // d0 sent nothing
/// ```
///
/// # Errors
/// The first breach, and in which of the logs it is.
pub fn check_promises(logs: &[&[Located]]) -> Result<(), (usize, Breach)> {
    let books = Books::read(logs)?;
    for (log, located) in places(logs) {
        let happening = Happening::read(&located.entry.text);
        let checked = match (happening.kind(), happening.name()) {
            ("gets", _) => books.check_sent(located, &happening),
            ("resumes", _) => books.check_met(located, &happening),
            _ => Ok(()),
        };
        checked.map_err(|(rule, what)| (log, breach_at(located.line, rule, what)))?;
    }
    books.check_locks()
}

type Broken = (Rule, String);

/// What all logs together say.
#[derive(Default)]
struct Books<'a> {
    /// By sender, receiver and number on the link.
    sent: BTreeMap<(u32, u32, u64), Sent<'a>>,
    /// Drones whose log breaks off before its end: they may have sent more.
    open: BTreeSet<u32>,
    drones: BTreeSet<u32>,
    /// When a drone came to its meeting with this number, in its own time.
    met: BTreeMap<(u32, u64), u64>,
    holdings: BTreeMap<u64, Vec<Holding<'a>>>,
}

struct Sent<'a> {
    name: &'a str,
    bytes: Option<u64>,
    clock: &'a TraceClock,
}

/// From when to when a drone had a lock.
struct Holding<'a> {
    place: (usize, usize),
    host: u32,
    taken: &'a TraceClock,
    /// In the drone's own time; none where it did not let the lock go.
    released: Option<u64>,
}

/// What one drone's log has said so far.
#[derive(Default)]
struct Page {
    sent: BTreeMap<u32, u64>,
    got: BTreeMap<u32, u64>,
    waits: BTreeMap<u64, String>,
    threads: BTreeSet<u64>,
    held: BTreeMap<u64, usize>,
    full: bool,
}

fn places<'a>(logs: &[&'a [Located]]) -> impl Iterator<Item = (usize, &'a Located)> {
    let logs = logs.iter().copied().enumerate();
    logs.flat_map(|(log, events)| events.iter().map(move |located| (log, located)))
}

impl<'a> Books<'a> {
    /// Reads all, and checks what a drone's own log tells by itself.
    fn read(logs: &[&'a [Located]]) -> Result<Self, (usize, Breach)> {
        let mut books = Self::default();
        let mut pages: BTreeMap<u32, Page> = BTreeMap::new();
        for (log, located) in places(logs) {
            let host = located.entry.host;
            books.drones.insert(host);
            books.open.insert(host);
            let page = pages.entry(host).or_default();
            let noted = books.note(page, (log, located.line), located);
            noted.map_err(|(rule, what)| (log, breach_at(located.line, rule, what)))?;
        }
        Ok(books)
    }

    fn note(
        &mut self,
        page: &mut Page,
        place: (usize, usize),
        located: &'a Located,
    ) -> Result<(), Broken> {
        let entry = &located.entry;
        let host = entry.host;
        let happening = Happening::read(&entry.text);
        match happening.kind() {
            "sends" => {
                let Some(to) = happening.drone("to") else {
                    return Ok(());
                };
                let no = in_order(&mut page.sent, to, &happening, "to")?;
                let sent = Sent {
                    name: happening.name(),
                    bytes: happening.number("bytes"),
                    clock: &entry.clock,
                };
                self.sent.insert((host, to, no), sent);
            }
            "gets" => {
                if let Some(from) = happening.drone("from") {
                    in_order(&mut page.got, from, &happening, "from")?;
                }
            }
            "waits" => {
                page.begin_wait(&happening)?;
                if happening.name() == "sleep" {
                    self.let_go(page, &happening, entry.clock.get(host));
                }
                // Who departs from a split barrier has come to it before.
                let comes = happening.number("comes").or(happening.number("meeting"));
                if let Some(number) = comes {
                    let time = entry.clock.get(host);
                    self.met.entry((host, number)).or_insert(time);
                }
            }
            "resumes" => {
                page.end_wait(&happening)?;
                if let Some(lock) = lock_taken(&happening) {
                    let holdings = self.holdings.entry(lock).or_default();
                    page.held.insert(lock, holdings.len());
                    holdings.push(Holding {
                        place,
                        host,
                        taken: &entry.clock,
                        released: None,
                    });
                }
            }
            "releases" => self.let_go(page, &happening, entry.clock.get(host)),
            "fills" => page.full = true,
            "ends" if !page.full => drop(self.open.remove(&host)),
            _ => {}
        }
        Ok(())
    }

    /// A drone lets a lock go at this time of its own, to be without it or to sleep.
    fn let_go(&mut self, page: &mut Page, happening: &Happening<'_>, time: u64) {
        let lock = happening.number("lock");
        // Without having it: the core refuses that.
        if let Some((lock, held)) = lock.and_then(|lock| page.held.remove_entry(&lock)) {
            let holdings = self.holdings.entry(lock).or_default();
            holdings[held].released = Some(time);
        }
    }

    fn check_sent(&self, located: &Located, got: &Happening<'_>) -> Result<(), Broken> {
        let (Some(from), Some(no)) = (got.drone("from"), got.number("no")) else {
            return Ok(());
        };
        let to = located.entry.host;
        let Some(sent) = self.sent.get(&(from, to, no)) else {
            if self.open.contains(&from) || !self.drones.contains(&from) {
                return Ok(());
            }
            let what = format!("d{from} never sent message {no} to d{to}");
            return Err((Rule::Sent, what));
        };
        if sent.name != got.name() || sent.bytes != got.number("bytes") {
            let what = format!(
                "message {no} from d{from} is a {} here, and a {} where it was sent",
                got.name(),
                sent.name
            );
            return Err((Rule::Order, what));
        }
        if !sent.clock.is_before(&located.entry.clock) {
            let what = format!("its clock does not know that d{from} sent it");
            return Err((Rule::Sent, what));
        }
        Ok(())
    }

    fn check_met(&self, located: &Located, met: &Happening<'_>) -> Result<(), Broken> {
        let good = met.get("result").is_none_or(|result| result == "done");
        let Some(number) = met.number("meeting").filter(|_| good) else {
            return Ok(());
        };
        for drone in &self.drones {
            let came = self.met.get(&(*drone, number));
            let known = came.is_some_and(|came| *came <= located.entry.clock.get(*drone));
            let may_be_missing = came.is_none() && self.open.contains(drone);
            if !known && !may_be_missing {
                let what = format!("meeting {number} ends before d{drone} has come to it");
                return Err((Rule::Meetings, what));
            }
        }
        Ok(())
    }

    /// Of two drones that had a lock, one knows when it takes it that the other has let it go.
    fn check_locks(&self) -> Result<(), (usize, Breach)> {
        for (lock, holdings) in &self.holdings {
            let mut ordered: Vec<&Holding<'_>> = holdings.iter().collect();
            // The sum of a clock's entries is a linear extension of what happened before what.
            ordered
                .sort_by_key(|holding| holding.taken.entries().map(|(_, time)| time).sum::<u64>());
            for pair in ordered.windows(2) {
                let (one, next) = (pair[0], pair[1]);
                let known = next.taken.get(one.host);
                if one.released.is_some_and(|released| released <= known)
                    || (one.released.is_none() && self.open.contains(&one.host))
                {
                    continue;
                }
                let (log, line) = next.place;
                let what = format!("lock {lock} is taken while d{} has it", one.host);
                return Err((log, breach_at(line, Rule::Locks, what)));
            }
        }
        Ok(())
    }
}

impl Page {
    fn begin_wait(&mut self, wait: &Happening<'_>) -> Result<(), Broken> {
        let (Some(ticket), Some(thread)) = (wait.number("ticket"), wait.number("thread")) else {
            return Ok(());
        };
        if !self.threads.insert(thread) {
            let what = format!("thread {thread} waits for something else already");
            return Err((Rule::Waits, what));
        }
        self.waits.insert(ticket, wait.name().to_owned());
        Ok(())
    }

    fn end_wait(&mut self, over: &Happening<'_>) -> Result<(), Broken> {
        let (Some(ticket), Some(thread)) = (over.number("ticket"), over.number("thread")) else {
            return Ok(());
        };
        self.threads.remove(&thread);
        match self.waits.remove(&ticket) {
            Some(name) if name == over.name() => Ok(()),
            Some(name) => {
                let what = format!(
                    "ticket {ticket} is over as {}, and began as {name}",
                    over.name()
                );
                Err((Rule::Waits, what))
            }
            None => Err((
                Rule::Waits,
                format!("ticket {ticket} is over and never began"),
            )),
        }
    }
}

/// Whether a link's numbers go up by one; gives the number.
fn in_order(
    last: &mut BTreeMap<u32, u64>,
    peer: u32,
    message: &Happening<'_>,
    word: &str,
) -> Result<u64, Broken> {
    let next = last.entry(peer).or_default();
    *next += 1;
    let no = message.number("no");
    if no == Some(*next) {
        return Ok(*next);
    }
    let no = no.map_or("none".to_owned(), |no| no.to_string());
    let what = format!("its number on the link {word} d{peer} is {no}, where {next} comes next");
    Err((Rule::Order, what))
}

/// The lock that a thread has now.
fn lock_taken(over: &Happening<'_>) -> Option<u64> {
    let good = over.get("result").is_none_or(|result| result == "done");
    over.number("lock")
        .filter(|_| good && ["acquire", "try", "sleep"].contains(&over.name()))
}
