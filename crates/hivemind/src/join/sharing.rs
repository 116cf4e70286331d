//! How two drones of one machine come to share memory: one offers a segment in a letter, the other opens it and says
//! whether it could. Where it could not (a container with processes of its own, another user), their link stays with TCP.
//!
//! The segment has no name anywhere: it is found through the process that holds it, and proved by a number that only
//! the letter has told. So nothing is left behind, whoever is killed.
//!
//! Deliberately elsewhere: which links may be shared (`hivemind-protocol`, `Transport`), the rings in a segment and what
//! they are checked for (`hivemind-memory`), the link over them (`net`).

use std::os::fd::OwnedFd;

use hivemind_memory::shared_ring::{self, Pair};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::Offer;

/// With more drones than this all links are TCP: each pair has a segment of its own.
pub(super) const MOST_DRONES: u32 = 256;

/// How much all rings to one drone may take together, and how much one of them.
const RINGS_TO_A_DRONE_BYTES: usize = 4 << 20;
const LONGEST_RING_BYTES: usize = 1 << 20;

/// Where a segment is found, as a letter says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Segment {
    process: u32,
    descriptor: u32,
    nonce: [u8; 32],
}

/// A segment that was offered and not yet taken.
pub(super) struct Offered {
    rings: Pair,
    /// Held until the other has answered: it opens this.
    _file: OwnedFd,
}

/// Rings to a peer, or why there are none.
pub(super) type Sharing = Result<Pair, String>;

impl Offered {
    /// Offers a segment to a peer that says it is on this machine, or says why not.
    pub(super) fn make(
        offer: &Offer,
        machine: &str,
        theirs: &str,
        drones: u32,
    ) -> Result<(Self, Segment), String> {
        if !offer.transport.tries_to_share(machine, theirs) {
            return Err("they are not on one machine, or are told to use TCP".to_owned());
        }
        if offer.encryption.seals(machine, theirs) {
            return Err("their link is to be encrypted".to_owned());
        }
        let bytes = ring_bytes(drones).ok_or_else(|| {
            format!("a hive of {drones} drones has too many links for that (at most {MOST_DRONES} drones)")
        })?;
        let mut nonce = [0; 32];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| "the system gives no random numbers".to_owned())?;
        let (rings, place, file) =
            shared_ring::share(nonce, bytes).map_err(|error| error.to_string())?;
        let segment = Segment {
            process: place.process,
            descriptor: place.descriptor,
            nonce,
        };
        Ok((Self { rings, _file: file }, segment))
    }

    /// The peer has answered.
    pub(super) fn settle(self, opened: bool) -> Sharing {
        if opened {
            Ok(self.rings)
        } else {
            Err("it cannot reach the memory file of this drone: it runs as another user, or where it does not see \
                 this process"
                .to_owned())
        }
    }
}

impl Segment {
    /// Opens what a peer offers, unless this drone may not share with it.
    pub(super) fn open(&self, offer: &Offer, machine: &str, theirs: &str, drones: u32) -> Sharing {
        let may = offer.transport.tries_to_share(machine, theirs)
            && !offer.encryption.seals(machine, theirs);
        let bytes = ring_bytes(drones).filter(|_| may);
        let bytes = bytes.ok_or_else(|| "it offers memory that is not to be shared".to_owned())?;
        let place = shared_ring::Offer {
            process: self.process,
            descriptor: self.descriptor,
            nonce: self.nonce,
        };
        shared_ring::open(&place, bytes).map_err(|error| error.to_string())
    }
}

/// How long each ring of a hive of so many drones is; none where there are too many for rings.
fn ring_bytes(drones: u32) -> Option<usize> {
    let peers = drones.saturating_sub(1).max(1) as usize;
    let share = (RINGS_TO_A_DRONE_BYTES / peers).min(LONGEST_RING_BYTES);
    // The next lower power of two.
    (drones <= MOST_DRONES).then(|| 1 << share.ilog2())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn offer() -> Offer {
        crate::join::tests::offer(std::time::Duration::ZERO)
    }

    #[test]
    fn what_is_offered_is_opened_by_who_may_and_was_told_the_number() {
        let offer = offer();
        let (offered, segment) = Offered::make(&offer, "here", "here", 2)
            .map_err(drop)
            .unwrap();
        let mut theirs = segment.open(&offer, "here", "here", 2).unwrap();
        let mut ours = offered.settle(true).unwrap();
        ours.sender.send(b"hello").unwrap();
        assert_eq!(theirs.receiver.waiting(), Ok(5));

        let (offered, segment) = Offered::make(&offer, "here", "here", 2)
            .map_err(drop)
            .unwrap();
        let guess = Segment {
            nonce: [0; 32],
            ..segment.clone()
        };
        let refused = guess.open(&offer, "here", "here", 2).err().unwrap();
        assert!(refused.contains("nonce"), "{refused}");
        // A hive of another size has other rings.
        assert!(segment.open(&offer, "here", "here", 100).is_err());
        assert!(offered.settle(false).is_err());
    }

    #[test]
    fn what_a_peer_of_another_machine_offers_is_not_even_looked_at() {
        let offer = offer();
        let (_offered, segment) = Offered::make(&offer, "here", "here", 2)
            .map_err(drop)
            .unwrap();
        let refused = segment.open(&offer, "here", "there", 2).err().unwrap();
        assert!(refused.contains("not to be shared"), "{refused}");
        assert!(Offered::make(&offer, "here", "there", 2).is_err());
        assert!(Offered::make(&offer, "", "", 2).is_err());
    }

    #[test]
    fn rings_of_many_drones_are_shorter_and_of_too_many_none() {
        assert_eq!(ring_bytes(2), Some(1 << 20));
        assert_eq!(ring_bytes(5), Some(1 << 20));
        assert_eq!(ring_bytes(6), Some(512 << 10));
        assert_eq!(ring_bytes(17), Some(256 << 10));
        assert_eq!(ring_bytes(18), Some(128 << 10));
        assert_eq!(ring_bytes(64), Some(64 << 10));
        assert_eq!(ring_bytes(256), Some(16 << 10));
        assert_eq!(ring_bytes(257), None);
    }
}
