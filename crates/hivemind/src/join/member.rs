//! Every other drone's part of the start: it finds drone 0, says who it is, and joins hands with the rest.
//!
//! Between two drones the higher one connects to the lower one's own address. Drone 0's part is `root.rs`; strangers
//! that knock at our own address stand in `porch.rs`.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use hivemind_protocol::DroneId;

use super::handshake::Purpose;
use super::letter::{Hello, Letter, LetterError, MAX_HELLO_BYTES, MAX_LETTER_BYTES, Mailbox};
use super::machine::machine_towards;
use super::porch::{Caller, Porch, wait};
use super::sharing::{Offered, Segment, Sharing};
use super::{JoinError, Offer, Peer, listen, reachable, rendezvous};
use crate::launch::{Listen, Root, Seat};

/// How much longer than drone 0 the others wait, so that its sentence, which knows more, reaches them.
const GRACE: Duration = Duration::from_secs(2);

/// How long one attempt to connect may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// How long drone 0 may take to let a drone in or refuse it, before the drone knocks anew.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Being hung up on may be chance (drone 0 is flooded with strangers); for so long and so often it is none.
const HANG_UPS: (Duration, u32) = (Duration::from_secs(2), 8);

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
    /// Connected by a higher drone, which has not said whether it could open what it was offered.
    Offering(Peer, Offered),
    Done(Peer),
}

/// Why an attempt to be let in failed that is worth another one.
struct Unheard {
    why: String,
    /// Where, if it was hung up on in the handshake.
    hung_up_at: Option<String>,
}

impl From<String> for Unheard {
    fn from(why: String) -> Self {
        Self {
            why,
            hung_up_at: None,
        }
    }
}

impl From<&str> for Unheard {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

/// Joins the hive that drone 0 gathers. Gives the connections to all others and the lowest base that is free on all.
pub(super) fn join(seat: &Seat, offer: &Offer) -> Result<(Vec<Peer>, usize), JoinError> {
    let deadline = Instant::now() + offer.start_timeout + GRACE;
    let mut member = Member {
        seat,
        me: DroneId(seat.rank),
        offer,
        deadline,
    };
    let (mut root, machine, listener) = member.be_admitted()?;
    // Drone 0 may have come later than we did; from here on its patience counts.
    member.renew_deadline();
    let (addresses, base_index, segment) = member.await_welcome(&mut root)?;
    let sharing = member.open(segment, &mut root, &machine);
    let sharing = sharing.map_err(|error| member.lost(DroneId::FIRST, &error.to_string()))?;
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
    let mut peers = vec![Peer {
        drone: DroneId::FIRST,
        mailbox: root,
        machine,
        sharing,
    }];
    peers.extend(pairs);
    Ok((peers, base_index))
}

impl Member<'_> {
    /// Finds drone 0 and is let in, trying again until the deadline: drone 0 may start later than we do. Gives the
    /// connection, the machine that drone 0 is on, and where the others will find us.
    fn be_admitted(&self) -> Result<(Mailbox, String, TcpListener), JoinError> {
        let mut pause = FIRST_PAUSE;
        let mut hang_ups = (Instant::now(), 0);
        let mut attempts = 0..;
        loop {
            let unheard = match self.knock(attempts.next().unwrap_or_default())? {
                Ok(admitted) => return Ok(admitted),
                Err(unheard) => unheard,
            };
            hang_ups = match unheard.hung_up_at {
                None => (Instant::now(), 0),
                Some(address) if hang_ups.0.elapsed() > HANG_UPS.0 && hang_ups.1 > HANG_UPS.1 => {
                    let me = self.me;
                    return Err(JoinError::OtherKey { me, address });
                }
                Some(_) => (hang_ups.0, hang_ups.1 + 1),
            };
            // Without drone 0 there is nobody whose sentence we could wait for.
            if Instant::now() + GRACE + pause >= self.deadline {
                return Err(self.incomplete(format!(
                    "drone 0 never came within {:?}: {}. Look at what it printed; HIVEMIND_START_TIMEOUT says how \
                     long to wait",
                    self.offer.start_timeout, unheard.why
                )));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One attempt. The inner error is worth another one.
    fn knock(
        &self,
        attempt: usize,
    ) -> Result<Result<(Mailbox, String, TcpListener), Unheard>, JoinError> {
        let stream = match self.connect_to_root(attempt) {
            Ok(stream) => stream,
            Err(why) => return Ok(Err(why.into())),
        };
        let address = stream
            .peer_addr()
            .map_or_else(|_| "its address".to_owned(), |address| address.to_string());
        let listener = self.listen(&stream)?;
        let hello = self.hello(&stream, &listener)?;
        let called = Mailbox::call(
            stream,
            self.offer.key(),
            Purpose::Join,
            hello,
            MAX_LETTER_BYTES,
        );
        let mut root = match called {
            Ok(root) => root,
            Err(error) => return Ok(Err(format!("it takes no calls ({error})").into())),
        };
        let not_a_hive = |why: String| JoinError::NotAHive {
            me: self.me,
            address: address.clone(),
            why,
        };
        match self.await_letter(&mut root, ANSWER_LIMIT) {
            Ok(Some(Letter::Admitted { machine })) => Ok(Ok((root, machine, listener))),
            Ok(Some(Letter::Refusal(why))) => Err(JoinError::Refused { me: self.me, why }),
            Ok(Some(other)) => Err(self.out_of_turn(&other)),
            Ok(None) => Ok(Err(
                format!("who listens at {address} answers nothing").into()
            )),
            Err(LetterError::HungUp) => Ok(Err(Unheard {
                why: format!("who listens at {address} hangs up on the handshake"),
                hung_up_at: Some(address),
            })),
            Err(LetterError::Closed | LetterError::Broken(_)) => {
                Ok(Err("it closes the connection without a word".into()))
            }
            Err(error) => Err(not_a_hive(error.to_string())),
        }
    }

    /// Where the drones above us will find us.
    fn listen(&self, to_root: &TcpStream) -> Result<TcpListener, JoinError> {
        if let Some(places) = &self.offer.listen {
            return listen(self.me, places);
        }
        let own = to_root.local_addr();
        let own = own.map_err(|cause| self.system("learn its own address", cause))?;
        listen(self.me, &Listen::at(own.ip()))
    }

    fn hello(&self, to_root: &TcpStream, listener: &TcpListener) -> Result<Letter, JoinError> {
        let own = listener.local_addr();
        let own = own.map_err(|cause| self.system("learn its own address", cause))?;
        Ok(Letter::Hello(Hello {
            job: self.seat.job.clone(),
            rank: self.seat.rank,
            size: self.seat.size,
            address: own.to_string(),
            base_bitmap: self.offer.base_bitmap,
            machine: machine_towards(to_root),
            facts: self.offer.facts.clone(),
        }))
    }

    /// Drone 0 may be at any of its addresses: each attempt is at the next.
    fn connect_to_root(&self, attempt: usize) -> Result<TcpStream, String> {
        let address = match &self.seat.root {
            Root::Addresses(addresses) => addresses[attempt % addresses.len()].clone(),
            Root::File(path) => rendezvous::read(path, self.offer.start_timeout)?,
            Root::Alone => unreachable!("a hive of one joins nobody"),
        };
        let nobody = |error: io::Error| format!("nobody answers at {address} ({error})");
        let mut last = None;
        for resolved in reachable(&address, self.seat.several_hosts).map_err(nobody)? {
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

    fn await_welcome(
        &self,
        root: &mut Mailbox,
    ) -> Result<(Vec<String>, usize, Option<Segment>), JoinError> {
        match self.hear_root(root)? {
            Letter::Welcome {
                addresses,
                base_index,
                segment,
            } if addresses.len() == self.seat.size as usize => Ok((addresses, base_index, segment)),
            other => Err(self.out_of_turn(&other)),
        }
    }

    /// Opens the memory that the peer at the other end offers, and tells it whether that went well. `machine`: where it
    /// says it is.
    fn open(
        &self,
        segment: Option<Segment>,
        mailbox: &mut Mailbox,
        machine: &str,
    ) -> io::Result<Sharing> {
        let Some(segment) = segment else {
            return Ok(Err("it offered no memory".to_owned()));
        };
        let own = machine_towards(mailbox.stream());
        let sharing = segment.open(self.offer, &own, machine, self.seat.size);
        mailbox.send(&Letter::Opened(sharing.is_ok()))?;
        Ok(sharing)
    }

    /// Waits for drone 0's next letter; a refusal or its end is an error.
    fn hear_root(&self, root: &mut Mailbox) -> Result<Letter, JoinError> {
        match self.await_letter(root, self.left()) {
            Ok(Some(Letter::Refusal(why))) => Err(self.incomplete(why)),
            Ok(Some(letter)) => Ok(letter),
            Ok(None) => Err(self.lost(DroneId::FIRST, "it fell silent")),
            Err(error) => Err(self.lost(DroneId::FIRST, &error.to_string())),
        }
    }

    /// Waits for one letter; none after the limit or the deadline.
    fn await_letter(
        &self,
        mailbox: &mut Mailbox,
        limit: Duration,
    ) -> Result<Option<Letter>, LetterError> {
        let end = Instant::now() + limit.min(self.left());
        loop {
            if let Some(letter) = mailbox.receive()? {
                return Ok(Some(letter));
            }
            let left = end.saturating_duration_since(Instant::now());
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
    ) -> Result<Vec<Peer>, JoinError> {
        let mut porch = Porch::new(listener, self.offer.key(), Purpose::Pair)
            .map_err(|cause| self.system("listen without blocking", cause))?;
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
            self.hear_opened(&mut pairs)?;
            match root.receive() {
                Ok(None) => {}
                Ok(Some(Letter::Refusal(why))) => return Err(self.incomplete(why)),
                Ok(Some(other)) => return Err(self.out_of_turn(&other)),
                Err(error) => return Err(self.lost(DroneId::FIRST, &error.to_string())),
            }
        }
        let done = pairs.into_iter().filter_map(|pair| match pair {
            Pairing::Done(peer) => Some(peer),
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
            Pairing::Offering(peer, _) => Some(peer.mailbox.fd()),
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
        let resolved = address
            .parse::<SocketAddr>()
            .map_err(|error| io::Error::other(error.to_string()));
        let connected = resolved.and_then(|resolved| self.connect(&resolved));
        let greeted = connected.and_then(|stream| {
            let greeting = Letter::Greeting {
                job: self.seat.job.clone(),
                from: self.seat.rank,
                to: to.0,
                machine: machine_towards(&stream),
            };
            let key = self.offer.key();
            Mailbox::call(stream, key, Purpose::Pair, greeting, MAX_HELLO_BYTES)
        });
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
                Ok(Some(Letter::Greeted { machine, segment })) => {
                    let Pairing::Greeting(mut mailbox) = std::mem::replace(pair, Pairing::Awaited)
                    else {
                        continue;
                    };
                    let sharing = self.open(segment, &mut mailbox, &machine);
                    let sharing = sharing.map_err(|error| self.lost(peer, &error.to_string()))?;
                    *pair = Pairing::Done(Peer {
                        drone: peer,
                        mailbox,
                        machine,
                        sharing,
                    });
                }
                Ok(Some(Letter::Refusal(why))) => return Err(self.lost(peer, &why)),
                Ok(Some(other)) => {
                    return Err(self.lost(peer, &format!("it said {other:?} out of turn")));
                }
                // It had to make room for others on its porch: once more.
                Err(LetterError::Closed | LetterError::HungUp) => {
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
        for Caller { mut mailbox, said } in callers {
            let (from, machine) = match self.expected(said, pairs) {
                Ok(expected) => expected,
                Err(why) => {
                    porch.refuse(mailbox, &why);
                    continue;
                }
            };
            let own = machine_towards(mailbox.stream());
            let offered = Offered::make(self.offer, &own, &machine, self.seat.size);
            let (pair, segment) = match offered {
                Ok((offered, segment)) => (Ok(offered), Some(segment)),
                Err(why) => (Err(why), None),
            };
            // One that is gone already is noticed by its link.
            let _ = mailbox.send(&Letter::Greeted {
                machine: own,
                segment,
            });
            let peer = |sharing| Peer {
                drone: DroneId(from),
                mailbox,
                machine,
                sharing,
            };
            pairs[from as usize - 1] = match pair {
                Ok(offered) => Pairing::Offering(peer(Err(String::new())), offered),
                Err(why) => Pairing::Done(peer(Err(why))),
            };
        }
        Ok(())
    }

    /// The higher drones say whether they could open what they were offered.
    fn hear_opened(&self, pairs: &mut [Pairing]) -> Result<(), JoinError> {
        for pair in pairs {
            let Pairing::Offering(peer, _) = pair else {
                continue;
            };
            let drone = peer.drone;
            let opened = match peer.mailbox.receive() {
                Ok(None) => continue,
                Ok(Some(Letter::Opened(opened))) => opened,
                Ok(Some(Letter::Refusal(why))) => return Err(self.lost(drone, &why)),
                Ok(Some(other)) => {
                    return Err(self.lost(drone, &format!("it said {other:?} out of turn")));
                }
                Err(error) => return Err(self.lost(drone, &error.to_string())),
            };
            if let Pairing::Offering(mut peer, offered) = std::mem::replace(pair, Pairing::Awaited)
            {
                peer.sharing = offered.settle(opened);
                *pair = Pairing::Done(peer);
            }
        }
        Ok(())
    }

    /// Which awaited drone a caller is and on which machine, or why it is none.
    fn expected(
        &self,
        said: Result<Letter, LetterError>,
        pairs: &[Pairing],
    ) -> Result<(u32, String), String> {
        let me = self.me;
        match said {
            Ok(Letter::Greeting {
                job,
                from,
                to,
                machine,
            }) if job == self.seat.job && to == me.0 => {
                let place = from
                    .checked_sub(1)
                    .and_then(|index| pairs.get(index as usize));
                match place {
                    Some(Pairing::Awaited) if from > me.0 => Ok((from, machine)),
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
