//! Every other drone's part of the start: it finds drone 0, says who it is, and joins hands with the rest.
//!
//! Between two drones the higher one connects to the lower one's own address. Drone 0's part is `root.rs`; strangers
//! that knock at our own address stand in `porch.rs`.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use hivemind_protocol::DroneId;

use super::letter::{Hello, Letter, LetterError, MAX_HELLO_BYTES, Mailbox};
use super::porch::{Porch, wait};
use super::root::mailbox_to_root;
use super::{Agreement, JoinError, Offer};
use crate::launch::{Root, Seat};

/// How much longer than drone 0 the others wait, so that its sentence, which knows more, reaches them.
const GRACE: Duration = Duration::from_secs(2);

/// How long one attempt to connect may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Pauses between attempts grow from the first to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// A drone that joins.
struct Member<'a> {
    seat: &'a Seat,
    me: DroneId,
    offer: &'a Offer,
    deadline: Instant,
}

/// A link that comes about.
enum Pairing {
    /// Nobody yet: a higher drone will connect.
    Awaited,
    /// Connected to a lower drone, which has not answered.
    Greeting(Mailbox),
    Done(Mailbox),
}

/// Joins the hive that drone 0 gathers. Gives the connections to all others.
pub(super) fn join(
    seat: &Seat,
    offer: &Offer,
) -> Result<(Vec<(DroneId, TcpStream)>, Agreement), JoinError> {
    let deadline = Instant::now() + offer.start_timeout + GRACE;
    let mut member = Member {
        seat,
        me: DroneId(seat.rank),
        offer,
        deadline,
    };
    let (mut root, listener) = member.be_admitted()?;
    // Drone 0 may have come later than we did; from here on its patience counts.
    member.renew_deadline();
    let (addresses, base_index) = member.await_welcome(&mut root)?;
    member.renew_deadline();
    let pairs = match member.pair_up(&mut root, listener, &addresses) {
        Ok(pairs) => pairs,
        Err(error) => {
            root.refuse(&error.to_string());
            return Err(error);
        }
    };
    let sent = root.send(&Letter::Ready);
    sent.map_err(|error| member.lost(DroneId::FIRST, &error.to_string()))?;
    match member.hear_root(&mut root)? {
        Letter::Go => {}
        other => return Err(member.out_of_turn(&other)),
    }
    let mut streams = vec![(DroneId::FIRST, root.into_stream())];
    streams.extend(pairs);
    Ok((streams, Agreement { base_index }))
}

impl Member<'_> {
    /// Finds drone 0 and is let in, trying again until the deadline: drone 0 may start later than we do.
    fn be_admitted(&self) -> Result<(Mailbox, TcpListener), JoinError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let why = match self.knock() {
                Ok(Ok(admitted)) => return Ok(admitted),
                Ok(Err(why)) => why,
                Err(error) => return Err(error),
            };
            // Without drone 0 there is nobody whose sentence we could wait for.
            if Instant::now() + GRACE + pause >= self.deadline {
                return Err(self.incomplete(format!(
                    "drone 0 never came within {:?}: {why}. Look at what it printed; HIVEMIND_START_TIMEOUT says how \
                     long to wait",
                    self.offer.start_timeout
                )));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One attempt. The inner error is worth another one.
    fn knock(&self) -> Result<Result<(Mailbox, TcpListener), String>, JoinError> {
        let stream = match self.connect_to_root() {
            Ok(stream) => stream,
            Err(why) => return Ok(Err(why)),
        };
        let address = stream.peer_addr();
        let listener = stream
            .local_addr()
            .and_then(|near| TcpListener::bind((near.ip(), 0)));
        let listener = listener.map_err(|cause| self.system("listen for its peers", cause))?;
        let own = listener
            .local_addr()
            .map_err(|cause| self.system("learn its own address", cause))?;
        let mut root =
            mailbox_to_root(stream).map_err(|cause| self.system("set up a connection", cause))?;
        let hello = Letter::Hello(Hello {
            job: self.seat.job.clone(),
            rank: self.seat.rank,
            size: self.seat.size,
            address: own.to_string(),
            base_bitmap: self.offer.base_bitmap,
            facts: self.offer.facts.clone(),
        });
        if let Err(error) = root.send(&hello) {
            return Ok(Err(format!("it takes no letters ({error})")));
        }
        match self.await_letter(&mut root) {
            Ok(Some(Letter::Admitted)) => Ok(Ok((root, listener))),
            Ok(Some(Letter::Refusal(why))) => Err(JoinError::Refused { me: self.me, why }),
            Ok(Some(other)) => Err(self.out_of_turn(&other)),
            Ok(None) => Ok(Err("it answers nothing".to_owned())),
            Err(LetterError::Closed | LetterError::Broken(_)) => {
                Ok(Err("it closes the connection without a word".to_owned()))
            }
            Err(error) => {
                let address = address
                    .map_or_else(|_| "its address".to_owned(), |address| address.to_string());
                Err(JoinError::NotAHive {
                    me: self.me,
                    address,
                    why: error.to_string(),
                })
            }
        }
    }

    fn connect_to_root(&self) -> Result<TcpStream, String> {
        let address = match &self.seat.root {
            Root::Address(address) => address.clone(),
            Root::File(path) => match fs::read_to_string(path) {
                Ok(text) => text.trim().to_owned(),
                Err(error) => {
                    return Err(format!(
                        "its address is not in {} ({error})",
                        path.display()
                    ));
                }
            },
            Root::Alone => unreachable!("a hive of one joins nobody"),
        };
        let nobody = |error: io::Error| format!("nobody answers at {address} ({error})");
        let mut last = None;
        for resolved in address.to_socket_addrs().map_err(nobody)? {
            match self.connect(&resolved) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| format!("{address} is no address"), nobody))
    }

    /// Connects, and makes sure that it is somebody else: a port nobody listens at may be lent to ourselves.
    fn connect(&self, address: &SocketAddr) -> io::Result<TcpStream> {
        let limit = self.left().min(CONNECT_LIMIT).max(Duration::from_millis(1));
        let stream = TcpStream::connect_timeout(address, limit)?;
        if stream.local_addr()? == stream.peer_addr()? {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(stream)
    }

    fn await_welcome(&self, root: &mut Mailbox) -> Result<(Vec<String>, usize), JoinError> {
        match self.hear_root(root)? {
            Letter::Welcome {
                addresses,
                base_index,
            } if addresses.len() == self.seat.size as usize => Ok((addresses, base_index)),
            other => Err(self.out_of_turn(&other)),
        }
    }

    /// Waits for drone 0's next letter; a refusal or its end is an error.
    fn hear_root(&self, root: &mut Mailbox) -> Result<Letter, JoinError> {
        match self.await_letter(root) {
            Ok(Some(Letter::Refusal(why))) => Err(self.incomplete(why)),
            Ok(Some(letter)) => Ok(letter),
            Ok(None) => Err(self.lost(DroneId::FIRST, "it fell silent")),
            Err(error) => Err(self.lost(DroneId::FIRST, &error.to_string())),
        }
    }

    /// Waits for one letter; none after the deadline.
    fn await_letter(&self, mailbox: &mut Mailbox) -> Result<Option<Letter>, LetterError> {
        loop {
            if let Some(letter) = mailbox.receive()? {
                return Ok(Some(letter));
            }
            let left = self.left();
            if left.is_zero() {
                return Ok(None);
            }
            wait(&[mailbox.fd()], left).map_err(LetterError::Broken)?;
        }
    }

    /// Makes the links to all but drone 0: connects to the lower ones, is connected to by the higher ones.
    fn pair_up(
        &self,
        root: &mut Mailbox,
        listener: TcpListener,
        addresses: &[String],
    ) -> Result<Vec<(DroneId, TcpStream)>, JoinError> {
        let mut porch =
            Porch::new(listener).map_err(|cause| self.system("listen without blocking", cause))?;
        let mut pairs: Vec<Pairing> = Vec::new();
        for (rank, address) in addresses.iter().enumerate().skip(1) {
            pairs.push(match rank < self.seat.rank as usize {
                true => Pairing::Greeting(self.greet(DroneId(rank as u32), address)?),
                false => Pairing::Awaited,
            });
        }
        while let Some(missing) = self.first_missing(&pairs) {
            if self.left().is_zero() {
                return Err(self.incomplete(format!("{missing} did not come to it in time")));
            }
            self.wait_for_pairs(root, &porch, &pairs)?;
            self.hear_lower(&mut pairs, addresses)?;
            self.hear_higher(&mut porch, &mut pairs)?;
            match root.receive() {
                Ok(None) => {}
                Ok(Some(Letter::Refusal(why))) => return Err(self.incomplete(why)),
                Ok(Some(other)) => return Err(self.out_of_turn(&other)),
                Err(error) => return Err(self.lost(DroneId::FIRST, &error.to_string())),
            }
        }
        let done = pairs
            .into_iter()
            .zip(1..)
            .filter_map(|(pair, rank)| match pair {
                Pairing::Done(mailbox) => Some((DroneId(rank), mailbox.into_stream())),
                _ => None,
            });
        Ok(done.collect())
    }

    fn first_missing(&self, pairs: &[Pairing]) -> Option<DroneId> {
        let mut ranked = pairs
            .iter()
            .zip(1..)
            .filter(|(_, rank)| *rank != self.seat.rank);
        let missing = ranked.find(|(pair, _)| !matches!(pair, Pairing::Done(_)));
        missing.map(|(_, rank)| DroneId(rank))
    }

    fn wait_for_pairs(
        &self,
        root: &Mailbox,
        porch: &Porch,
        pairs: &[Pairing],
    ) -> Result<(), JoinError> {
        let mut fds = vec![root.fd()];
        fds.extend(pairs.iter().filter_map(|pair| match pair {
            Pairing::Greeting(mailbox) => Some(mailbox.fd()),
            _ => None,
        }));
        let left = self.left();
        let patience = porch.watch(&mut fds).unwrap_or(left);
        let waited = wait(&fds, left.min(patience));
        waited
            .map(drop)
            .map_err(|cause| self.system("wait for its peers", cause))
    }

    fn greet(&self, to: DroneId, address: &str) -> Result<Mailbox, JoinError> {
        let greeting = Letter::Greeting {
            job: self.seat.job.clone(),
            from: self.seat.rank,
            to: to.0,
        };
        let resolved = address
            .parse::<SocketAddr>()
            .map_err(|error| io::Error::other(error.to_string()));
        let connected = resolved.and_then(|resolved| self.connect(&resolved));
        let mailbox = connected.and_then(|stream| Mailbox::new(stream, MAX_HELLO_BYTES));
        let greeted = mailbox.and_then(|mut mailbox| mailbox.send(&greeting).map(|()| mailbox));
        greeted.map_err(|cause| JoinError::Unreachable {
            me: self.me,
            peer: to,
            address: address.to_owned(),
            cause,
        })
    }

    /// The lower drones answer.
    fn hear_lower(&self, pairs: &mut [Pairing], addresses: &[String]) -> Result<(), JoinError> {
        for (pair, rank) in pairs.iter_mut().zip(1..) {
            let Pairing::Greeting(mailbox) = pair else {
                continue;
            };
            let peer = DroneId(rank);
            match mailbox.receive() {
                Ok(None) => {}
                Ok(Some(Letter::Greeted)) => {
                    let Pairing::Greeting(mailbox) = std::mem::replace(pair, Pairing::Awaited)
                    else {
                        continue;
                    };
                    *pair = Pairing::Done(mailbox);
                }
                Ok(Some(Letter::Refusal(why))) => return Err(self.lost(peer, &why)),
                Ok(Some(other)) => {
                    return Err(self.lost(peer, &format!("it said {other:?} out of turn")));
                }
                // It had to make room for others on its porch: once more.
                Err(LetterError::Closed) => {
                    thread::sleep(FIRST_PAUSE);
                    *pair = Pairing::Greeting(self.greet(peer, &addresses[rank as usize])?);
                }
                Err(error) => return Err(self.lost(peer, &error.to_string())),
            }
        }
        Ok(())
    }

    /// The higher drones come.
    fn hear_higher(&self, porch: &mut Porch, pairs: &mut [Pairing]) -> Result<(), JoinError> {
        let callers = porch
            .serve()
            .map_err(|cause| self.system("accept connections", cause))?;
        for mut caller in callers {
            let from = match self.expected(&caller.said, pairs) {
                Ok(from) => from,
                Err(why) => {
                    porch.refuse(caller.mailbox, &why);
                    continue;
                }
            };
            // One that is gone already is noticed by its link.
            let _ = caller.mailbox.send(&Letter::Greeted);
            pairs[from as usize - 1] = Pairing::Done(caller.mailbox);
        }
        Ok(())
    }

    /// Which awaited drone a caller is, or why it is none.
    fn expected(
        &self,
        said: &Result<Letter, LetterError>,
        pairs: &[Pairing],
    ) -> Result<u32, String> {
        let me = self.me;
        match said {
            Ok(Letter::Greeting { job, from, to }) if *job == self.seat.job && *to == me.0 => {
                let place = from
                    .checked_sub(1)
                    .and_then(|index| pairs.get(index as usize));
                match place {
                    Some(Pairing::Awaited) if *from > me.0 => Ok(*from),
                    _ => Err(format!("{me} does not await drone {from}")),
                }
            }
            Ok(_) => Err(format!("this is {me}, and this is no greeting for it")),
            Err(error) => Err(format!("{me} cannot read your greeting: {error}")),
        }
    }

    fn renew_deadline(&mut self) {
        self.deadline = Instant::now() + self.offer.start_timeout + GRACE;
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn lost(&self, peer: DroneId, why: &str) -> JoinError {
        JoinError::Lost {
            me: self.me,
            peer,
            why: why.to_owned(),
        }
    }

    fn out_of_turn(&self, letter: &Letter) -> JoinError {
        self.lost(DroneId::FIRST, &format!("it said {letter:?} out of turn"))
    }

    fn incomplete(&self, why: String) -> JoinError {
        JoinError::Incomplete { me: self.me, why }
    }

    fn system(&self, what: &'static str, cause: io::Error) -> JoinError {
        JoinError::System {
            me: self.me,
            what,
            cause,
        }
    }
}
