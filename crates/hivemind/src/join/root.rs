//! Drone 0's part of the start: it listens, gathers the others, tells each where the others are, and says go.
//!
//! Whom to refuse is decided in `hivemind-protocol` (`Membership`); strangers are kept in `porch.rs`; the others' part is `member.rs`.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use hivemind_protocol::{DroneId, Membership, Mutant, mutant};

use super::handshake::Purpose;
use super::letter::{Hello, Letter, LetterError, Mailbox};
use super::machine::machine_towards;
use super::porch::{Caller, Porch, wait};
use super::rendezvous::Notice;
use super::sharing::Offered;
use super::{JoinError, Offer, Peer, listen, reachable};
use crate::launch::{Listen, Root, Seat};

const ME: DroneId = DroneId::FIRST;

/// Where drone 0 listens, for as long as the value lives.
struct Meeting {
    porch: Porch,
    /// The file that tells the others the address.
    _notice: Option<Notice>,
}

/// Everything of a start in progress.
struct Gathering<'a> {
    meeting: Meeting,
    membership: Membership,
    /// By rank; none for drone 0 and for who isn't here.
    members: Vec<Option<Peer>>,
    /// What was offered to whom, by rank, and not yet answered.
    offered: Vec<Option<Offered>>,
    ready: Vec<bool>,
    offer: &'a Offer,
    deadline: Instant,
}

/// Brings the hive together. Gives the connections to all others and the lowest base that is free on all.
pub(super) fn gather(seat: &Seat, offer: &Offer) -> Result<(Vec<Peer>, usize), JoinError> {
    let mut gathering = Gathering {
        meeting: open(seat, offer)?,
        membership: Membership::new(seat.size, &seat.job, &offer.facts, offer.base_bitmap),
        members: (0..seat.size).map(|_| None).collect(),
        offered: (0..seat.size).map(|_| None).collect(),
        ready: (0..seat.size).map(|rank| rank == 0).collect(),
        offer,
        deadline: Instant::now() + offer.start_timeout,
    };
    match gathering.run() {
        Ok(base_index) => Ok((
            gathering.members.into_iter().flatten().collect(),
            base_index,
        )),
        Err(error) => {
            gathering.tell_all(&error.to_string());
            Err(error)
        }
    }
}

impl Gathering<'_> {
    fn run(&mut self) -> Result<usize, JoinError> {
        while !self.membership.is_complete() {
            if !self.turn()? {
                return Err(self.incomplete(self.membership.missing(self.offer.start_timeout)));
            }
        }
        let base_index = self.membership.base().map_err(|why| self.incomplete(why))?;
        // Who came last shall not leave the others without time to connect.
        self.deadline = Instant::now() + self.offer.start_timeout;
        self.welcome(base_index)?;
        while !self.ready.iter().all(|ready| *ready) {
            if !self.turn()? {
                return Err(self.incomplete(self.not_ready()));
            }
        }
        self.send_to_all(&Letter::Go)?;
        Ok(base_index)
    }

    /// Tells everybody where the others are, and offers those on this machine memory to share.
    fn welcome(&mut self, base_index: usize) -> Result<(), JoinError> {
        let addresses = self.membership.addresses();
        let drones = addresses.len() as u32;
        for (member, offered) in self.members.iter_mut().zip(&mut self.offered) {
            let Some(member) = member else { continue };
            let own = machine_towards(member.mailbox.stream());
            let segment = match Offered::make(self.offer, &own, &member.machine, drones) {
                Ok((made, segment)) => {
                    *offered = Some(made);
                    Some(segment)
                }
                Err(why) => {
                    member.sharing = Err(why);
                    None
                }
            };
            let letter = Letter::Welcome {
                addresses: addresses.clone(),
                base_index,
                segment,
            };
            send(member, &letter)?;
        }
        Ok(())
    }

    /// Waits for anybody to say something, and hears them. False after the deadline.
    fn turn(&mut self) -> Result<bool, JoinError> {
        let left = match mutant(Mutant::PartialStartWaits) {
            true => Duration::MAX,
            false => self.deadline.saturating_duration_since(Instant::now()),
        };
        if left.is_zero() {
            return Ok(false);
        }
        let present: Vec<usize> = (0..self.members.len())
            .filter(|&rank| self.members[rank].is_some())
            .collect();
        let members = self.members.iter().flatten();
        let mut fds: Vec<_> = members.map(|member| member.mailbox.fd()).collect();
        let patience = self.meeting.porch.watch(&mut fds).unwrap_or(left);
        let woken = wait(&fds, left.min(patience))
            .map_err(|cause| refused_by_system("wait for drones", cause))?;
        for (&rank, _) in present.iter().zip(woken).filter(|(_, woken)| *woken) {
            self.hear(rank)?;
        }
        self.hear_strangers()?;
        Ok(true)
    }

    /// A member says something, or is gone.
    fn hear(&mut self, rank: usize) -> Result<(), JoinError> {
        let Some(member) = self.members.get_mut(rank).and_then(Option::as_mut) else {
            return Ok(());
        };
        let drone = DroneId(rank as u32);
        let gathering = !self.membership.is_complete();
        match member.mailbox.receive() {
            Ok(None) => Ok(()),
            Ok(Some(Letter::Opened(opened))) if self.offered[rank].is_some() => {
                if let Some(offered) = self.offered[rank].take() {
                    member.sharing = offered.settle(opened);
                }
                Ok(())
            }
            Ok(Some(Letter::Ready)) if !gathering && self.offered[rank].is_none() => {
                self.ready[rank] = true;
                Ok(())
            }
            Ok(Some(Letter::Refusal(why))) => {
                Err(self.incomplete(format!("{drone} gave up: {why}")))
            }
            Ok(Some(_)) => Err(lost(drone, "it said something out of turn")),
            // Before all are here a drone may go and another may come in its place.
            Err(LetterError::Closed | LetterError::Broken(_)) if gathering => {
                self.members[rank] = None;
                self.membership.depart(drone);
                Ok(())
            }
            Err(error) => Err(lost(drone, &error.to_string())),
        }
    }

    fn hear_strangers(&mut self) -> Result<(), JoinError> {
        let callers = self.meeting.porch.serve();
        let callers = callers.map_err(|cause| refused_by_system("accept connections", cause))?;
        for _ in 0..self.meeting.porch.take_shown_out() {
            self.membership.stranger();
        }
        for Caller { mailbox, said } in callers {
            let why = match said {
                Ok(Letter::Hello(hello)) => {
                    self.hear_hello(mailbox, hello)?;
                    continue;
                }
                Ok(_) => {
                    "this is drone 0 of a hive that comes together: say hello first".to_owned()
                }
                Err(error) => {
                    self.membership
                        .refused(format!("somebody knocked, but {error}"));
                    format!(
                        "drone 0 cannot read your hello: {}",
                        from_the_other_side(&error)
                    )
                }
            };
            self.meeting.porch.refuse(mailbox, &why);
        }
        Ok(())
    }

    fn hear_hello(&mut self, mut mailbox: Mailbox, hello: Hello) -> Result<(), JoinError> {
        // Who had the place may have gone since we last looked.
        self.hear(hello.rank as usize)?;
        let machine = hello.machine.clone();
        match self.membership.consider(&hello.newcomer()) {
            Ok(drone) => {
                let own = machine_towards(mailbox.stream());
                // A member that is gone already is noticed when it is heard.
                let _ = mailbox.send(&Letter::Admitted { machine: own });
                self.members[drone.0 as usize] = Some(Peer {
                    drone,
                    mailbox,
                    machine,
                    sharing: Err(String::new()),
                });
            }
            Err(why) => self.meeting.porch.refuse(mailbox, &why),
        }
        Ok(())
    }

    fn send_to_all(&mut self, letter: &Letter) -> Result<(), JoinError> {
        for member in self.members.iter_mut().flatten() {
            send(member, letter)?;
        }
        Ok(())
    }

    /// Tells everybody who is here why the hive doesn't come together.
    fn tell_all(&mut self, why: &str) {
        for member in self.members.iter_mut().flatten() {
            member.mailbox.refuse(why);
        }
    }

    fn not_ready(&self) -> String {
        let waits = self.ready.iter().position(|ready| !ready).unwrap_or(0);
        format!(
            "drone {waits} could not reach the drones below it, or they not it, within {:?}: all drones must be able to \
             connect to each other",
            self.offer.start_timeout
        )
    }

    fn incomplete(&self, why: String) -> JoinError {
        JoinError::Incomplete { me: ME, why }
    }
}

fn send(member: &mut Peer, letter: &Letter) -> Result<(), JoinError> {
    let sent = member.mailbox.send(letter);
    sent.map_err(|error| lost(member.drone, &format!("it takes no letters: {error}")))
}

/// The same complaint as the one who made it would put it.
fn from_the_other_side(error: &LetterError) -> String {
    match error {
        LetterError::Version(theirs) => format!(
            "you speak protocol version {theirs}, this hive speaks {}: build all drones from the same version",
            hivemind_protocol::PROTOCOL_VERSION
        ),
        other => other.to_string(),
    }
}

fn open(seat: &Seat, offer: &Offer) -> Result<Meeting, JoinError> {
    let (listener, notice) = match &seat.root {
        Root::Addresses(addresses) => (listen_at(addresses, seat, offer)?, None),
        Root::File(path) => {
            let places = match &offer.listen {
                Some(places) => places.clone(),
                None => Listen::at(own_address(seat)?),
            };
            let listener = listen(ME, &places)?;
            let published = listener
                .local_addr()
                .and_then(|address| Notice::publish(address, path));
            let notice = published.map_err(|cause| JoinError::Rendezvous {
                me: ME,
                path: path.clone(),
                cause,
            })?;
            (listener, Some(notice))
        }
        Root::Alone => unreachable!("a hive of one gathers nobody"),
    };
    let porch = Porch::new(listener, offer.key(), Purpose::Join)
        .map_err(|cause| refused_by_system("listen without blocking", cause))?;
    Ok(Meeting {
        porch,
        _notice: notice,
    })
}

/// Listens at the first of the addresses that is free: where its host's name leads, or on the interface that
/// `HIVEMIND_LISTEN` names.
fn listen_at(addresses: &[String], seat: &Seat, offer: &Offer) -> Result<TcpListener, JoinError> {
    let mut refusal = None;
    for address in addresses {
        let places = reachable(address, seat.several_hosts).map(|places| match &offer.listen {
            Some(own) => vec![SocketAddr::new(own.address(), places[0].port())],
            None => places,
        });
        let cause = match places.and_then(|places| TcpListener::bind(&places[..])) {
            Ok(listener) => return Ok(listener),
            Err(cause) => cause,
        };
        let is_taken = cause.kind() == ErrorKind::AddrInUse;
        refusal = Some(JoinError::Listen {
            me: ME,
            variable: "HIVEMIND_ROOT",
            address: address.clone(),
            cause,
        });
        if !is_taken {
            break;
        }
    }
    Err(refusal.unwrap_or_else(|| unreachable!("a seat has an address to meet at")))
}

/// The address of this host by which others reach it: the loopback, unless the starter says that there are others.
fn own_address(seat: &Seat) -> Result<IpAddr, JoinError> {
    if !seat.several_hosts {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    let places = reachable(&format!("{name}:0"), true).map_err(|cause| JoinError::Listen {
        me: ME,
        variable: "HIVEMIND_LISTEN",
        address: name.into_owned(),
        cause,
    })?;
    Ok(places[0].ip())
}

fn lost(peer: DroneId, why: &str) -> JoinError {
    JoinError::Lost {
        me: ME,
        peer,
        why: why.to_owned(),
    }
}

fn refused_by_system(what: &'static str, cause: io::Error) -> JoinError {
    JoinError::System {
        me: ME,
        what,
        cause,
    }
}
