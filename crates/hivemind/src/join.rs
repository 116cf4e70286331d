//! The start: drones find each other, agree, and are linked, each with each. It counts: all come together within the
//! start timeout, or each that came says who is missing.
//!
//! Drone 0 listens where the launcher said and gathers the others; each other drone knocks there until it is let in
//! or refused. When all are here, drone 0 tells each where the others listen and which base address is free on all;
//! the higher of two drones connects to the lower; each says when it is ready, and drone 0 says go. Nothing listens
//! any more after that. Every connection opens with a handshake under the job's key, and nothing is heard or said before.
//!
//! Drone 0's part lives in `root.rs`, the others' in `member.rs`, what is said in `letter.rs`, strangers in `porch.rs`,
//! the handshake in `handshake.rs`, the job's key in `key.rs`, on which machine a drone is in `machine.rs`,
//! memory that two of one machine share in `sharing.rs`, the file through which they may meet in `rendezvous.rs`.
//! Deliberately elsewhere: who is let in, which links are encrypted and which may be shared memory
//! (`hivemind-protocol`, `Membership`, `Encryption` and `Transport`), and the links themselves (`net`).

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod handshake;
mod key;
mod letter;
mod machine;
mod member;
mod porch;
mod rendezvous;
mod root;
mod sharing;

#[cfg(all(test, not(loom)))]
mod hostile;
#[cfg(all(test, not(loom)))]
mod tests;

use crate::launch::{Listen, Seat};
use crate::net::{ByteStream, Links, LinksConfig, Ring, Sealed, Tcp};
use handshake::Session;
use hivemind_protocol::{DroneId, Encryption, Membership, Transport};
use letter::Mailbox;
use machine::machine_towards;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sharing::Sharing;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use key::Key;
pub use key::KeyError;

/// Files that a drone has open beside its links: standard streams, epoll sets, the region, a program's own.
const OTHER_FILES: u64 = 256;

/// The least number of silent ticks, one a second, that mean anything: heartbeats may come two seconds apart.
const LEAST_SILENT_TICKS: u32 = 3;

/// What a drone brings to the start.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// At which of the agreed bases the region could lie, a bit each.
    pub(crate) base_bitmap: u32,
    /// What must be equal on all drones: name and value. A name that ends in "in bytes" is shown as a size.
    pub(crate) facts: Vec<(String, String)>,
    /// How long to wait for all to be here.
    pub(crate) start_timeout: Duration,
    /// After how long a silent peer counts as lost. Rounded up to seconds, three at the least.
    pub(crate) silence_limit: Duration,
    /// Where to listen; none: the loopback, or the way by which drone 0 was reached.
    pub(crate) listen: Option<Listen>,
    /// The job's key; none in a hive of one.
    pub(crate) key: Option<Key>,
    /// Which links are encrypted.
    pub(crate) encryption: Encryption,
    /// What carries links.
    pub(crate) transport: Transport,
}

/// What all drones have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreement {
    /// The lowest base that is free on all.
    pub(crate) base_index: usize,
    /// How many drones of the hive are on this drone's machine, itself counted.
    pub(crate) local_drones: u32,
}

/// A drone to which there is a connection.
struct Peer {
    drone: DroneId,
    mailbox: Mailbox,
    /// On which machine it says it is.
    machine: String,
    /// Memory that the two share.
    sharing: Sharing,
}

/// Why a drone did not get into its hive.
///
/// ```
/// use hivemind::{Error, Hive, JoinError};
///
/// match Hive::join() {
///     // Some drone never came: `why` names those that are missing.
///     Err(Error::Join(JoinError::Incomplete { why, .. })) => eprintln!("try again: {why}"),
///     other => other.and_then(Hive::leave).expect("a hive of one"),
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// A drone can't open its address.
    #[error(
        "{me} cannot listen at {address}: {cause}; give {variable} an address of this machine with a free port"
    )]
    Listen {
        /// This drone.
        me: DroneId,
        /// What said where.
        variable: &'static str,
        /// Where.
        address: String,
        /// Why not.
        cause: io::Error,
    },
    /// The file through which drones find drone 0 can't be written.
    #[error("{me} cannot write its address to {}: {cause}; HIVEMIND_ROOT must name a file in a directory that it may write", path.display())]
    Rendezvous {
        /// This drone.
        me: DroneId,
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// Drone 0 does not let this drone in.
    #[error("{me} was refused by drone 0: {why}")]
    Refused {
        /// This drone.
        me: DroneId,
        /// In drone 0's words.
        why: String,
    },
    /// The hive did not come together.
    #[error("the hive did not come together, says {me}: {why}")]
    Incomplete {
        /// This drone.
        me: DroneId,
        /// Who is missing, or what is in the way.
        why: String,
    },
    /// Something else listens where drone 0 should.
    #[error("{me} found something else at {address} than its drone 0: {why}; see HIVEMIND_ROOT")]
    NotAHive {
        /// This drone.
        me: DroneId,
        /// Where.
        address: String,
        /// What it is.
        why: String,
    },
    /// What listens where drone 0 should has another key.
    #[error(
        "{me} and what listens at {address}, where its drone 0 should be, do not have the same key: it hangs up on the \
         handshake; give all drones of the job the same HIVEMIND_KEY_FILE, or without one the same HIVEMIND_JOB and \
         the same ~/.config/hivemind/key, and see HIVEMIND_ROOT"
    )]
    OtherKey {
        /// This drone.
        me: DroneId,
        /// Where.
        address: String,
    },
    /// A drone that had come is gone, or does what it mustn't.
    #[error("{me} lost {peer} at the start: {why}")]
    Lost {
        /// This drone.
        me: DroneId,
        /// The other one.
        peer: DroneId,
        /// What happened.
        why: String,
    },
    /// Two drones of one machine that were told to share memory can't.
    #[error(
        "{me} and {peer} are on one machine and cannot share memory: {why}; HIVEMIND_TRANSPORT=auto (hivemind run \
         --transport auto) uses TCP between them"
    )]
    NotShared {
        /// This drone.
        me: DroneId,
        /// The other one.
        peer: DroneId,
        /// Why not.
        why: String,
    },
    /// Two drones can't connect.
    #[error(
        "{me} cannot connect to {peer} at {address}: {cause}; all drones must be able to reach each other"
    )]
    Unreachable {
        /// This drone.
        me: DroneId,
        /// The other one.
        peer: DroneId,
        /// Where it listens.
        address: String,
        /// Why not.
        cause: io::Error,
    },
    /// The operating system refused something.
    #[error(
        "{me} cannot {what}: {cause}; with too many open files, raise the limit (ulimit -n) above the number of drones"
    )]
    System {
        /// This drone.
        me: DroneId,
        /// What was tried.
        what: &'static str,
        /// Why not.
        cause: io::Error,
    },
}

/// Brings this drone into its hive. Blocks until all are here (at most the start timeout) and linked (at most as long
/// again). A hive of one has no links, and agrees with itself.
///
/// # Errors
///
/// Who is missing or refused, or what the system refuses.
pub(crate) fn join(seat: &Seat, mut offer: Offer) -> Result<(Option<Links>, Agreement), JoinError> {
    #[cfg(hivemind_mutants)]
    hivemind_protocol::choose_mutant(|variable| std::env::var(variable).ok());
    let me = DroneId(seat.rank);
    if seat.size == 1 {
        let alone = Membership::new(1, &seat.job, &offer.facts, offer.base_bitmap);
        let base_index = alone
            .base()
            .map_err(|why| JoinError::Incomplete { me, why })?;
        let agreement = Agreement {
            base_index,
            local_drones: 1,
        };
        return Ok((None, agreement));
    }
    // Each link is a file, and while memory is offered to share, two.
    let links = u64::from(seat.size) + u64::from(seat.size.min(sharing::MOST_DRONES));
    allow_open_files(links + OTHER_FILES + porch::MAX_STRANGERS as u64);
    offer
        .facts
        .push(("encryption".to_owned(), offer.encryption.to_string()));
    offer
        .facts
        .push(("transport".to_owned(), offer.transport.to_string()));
    let (peers, base_index) = match me {
        DroneId::FIRST => root::gather(seat, &offer)?,
        _ => member::join(seat, &offer)?,
    };
    let agreement = Agreement {
        base_index,
        local_drones: 1 + peers.iter().filter(|peer| peer.is_here()).count() as u32,
    };
    if offer.transport == Transport::Shared {
        check_shared(me, &peers)?;
    }
    let links = link(me, peers, &offer);
    let links = links.map_err(|cause| JoinError::System {
        me,
        what: "set up its links",
        cause,
    })?;
    Ok((Some(links), agreement))
}

impl Peer {
    /// Whether it is on this drone's machine.
    fn is_here(&self) -> bool {
        !self.machine.is_empty() && self.machine == machine_towards(self.mailbox.stream())
    }
}

impl Offer {
    fn key(&self) -> &Key {
        let key = self.key.as_ref();
        key.expect("INV-L3: a hive of more than one drone has a key")
    }
}

/// Whoever asked for shared memory shall not get TCP where it could have been.
fn check_shared(me: DroneId, peers: &[Peer]) -> Result<(), JoinError> {
    for peer in peers.iter().filter(|peer| peer.is_here()) {
        if let Err(why) = &peer.sharing {
            return Err(JoinError::NotShared {
                me,
                peer: peer.drone,
                why: why.clone(),
            });
        }
    }
    Ok(())
}

fn link(me: DroneId, peers: Vec<Peer>, offer: &Offer) -> io::Result<Links> {
    let seconds = offer
        .silence_limit
        .as_millis()
        .div_ceil(1000)
        .min(u128::from(u32::MAX)) as u32;
    let config = LinksConfig {
        silence_limit_ticks: seconds.max(LEAST_SILENT_TICKS),
        ..LinksConfig::default()
    };
    let carry = |peer: Peer| Ok((peer.drone, carrier(peer, offer.encryption)?));
    let streams: io::Result<Vec<_>> = peers.into_iter().map(carry).collect();
    Links::new(me, streams?, config)
}

/// What carries the frames to a peer from now on: shared memory, or TCP, encrypted or not.
fn carrier(peer: Peer, encryption: Encryption) -> io::Result<Box<dyn ByteStream>> {
    let machine = machine_towards(peer.mailbox.stream());
    let (socket, Session { sealer, opener }) = peer.mailbox.into_parts();
    let tcp = Tcp::new(socket)?;
    if let Ok(rings) = peer.sharing {
        return Ok(Box::new(Ring::new(tcp, rings)));
    }
    if encryption.seals(&machine, &peer.machine) {
        Ok(Box::new(Sealed::new(tcp, sealer, opener)))
    } else {
        Ok(Box::new(tcp))
    }
}

/// Where a `host:port` leads: at least one place. With drones on several hosts a name that means the loopback does not
/// mean it for all of them.
///
/// # Errors
/// The name leads nowhere, or only to this host's own loopback.
fn reachable(address: &str, several_hosts: bool) -> io::Result<Vec<SocketAddr>> {
    let mut places: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
    if several_hosts {
        places.retain(|place| !place.ip().is_loopback());
    }
    if places.is_empty() {
        let why =
            "on this host that name means the loopback, where drones of other hosts cannot come";
        return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, why));
    }
    Ok(places)
}

/// Listens at the first of the places that is free.
fn listen(me: DroneId, listen: &Listen) -> Result<TcpListener, JoinError> {
    let mut refusal = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for place in listen.places() {
        match TcpListener::bind(place) {
            Ok(listener) => return Ok(listener),
            Err(error) => refusal = error,
        }
        if refusal.kind() != io::ErrorKind::AddrInUse {
            break;
        }
    }
    Err(JoinError::Listen {
        me,
        variable: "HIVEMIND_LISTEN",
        address: listen.to_string(),
        cause: refusal,
    })
}

/// Raises the limit of open files, as far as one may, to what a drone of a large hive needs. Where it doesn't suffice
/// the call that needs a file says so.
fn allow_open_files(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let current = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(current),
                maximum: limit.maximum,
            },
        );
    }
}
