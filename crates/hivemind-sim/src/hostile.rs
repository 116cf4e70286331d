//! A hostile world: the network breaks its promise, or a drone says what no correct drone says. All of it must be
//! found out, or do no harm: nobody may see a wrong value in silence.
//!
//! The network here carries sealed frames: the very envelopes that the driver puts into its own. What is said is in
//! `lie`; what drones do about it is theirs, and the world's.

use crate::lie::lie;
use crate::prng::Prng;
use hivemind_protocol::{DroneId, Envelope, Message, Opener, Sealer};
use std::collections::{BTreeMap, VecDeque};

/// In which way a world is hostile, and how often, in thousandths of all messages.
///
/// ```
/// use hivemind_sim::{Hostility, Plan, check};
/// use hivemind_protocol::DroneId;
/// let plan = (1..).map(Plan::draw_hostile).find(|plan| plan.drones() == 3);
/// let mut plan = plan.expect("there are such plans");
/// plan.world.hostility = Some(Hostility::Liar(DroneId(1), 30));
/// check(&plan)?;
/// # Ok::<(), Box<hivemind_sim::Failed>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hostility {
    /// The network drops, repeats, reorders, changes, shortens, misdelivers and replays. Always found out, at the next
    /// frame or heartbeat of the link.
    Network(u64),
    /// One drone speaks of epochs, pages, intervals and locks that are not, answers what nobody asked, and says things
    /// twice. Refused by whoever hears it, or of no consequence.
    Liar(DroneId, u64),
    /// One drone changes anything at all: believable lies too. Nobody can know those, so only this is promised: no
    /// correct drone panics, blames the innocent or goes on for ever.
    Madman(DroneId, u64),
}

/// What was done to the drones.
///
/// ```
/// use hivemind_sim::{Plan, check};
/// let done = check(&Plan::draw(1))?.hostilities;
/// assert_eq!((done.tampered, done.lies), (0, 0)); // no hostile world
/// # Ok::<(), Box<hivemind_sim::Failed>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hostilities {
    /// Frames that the network dropped, changed or moved.
    pub tampered: u64,
    /// Messages that their sender did not mean.
    pub lies: u64,
    /// Runs in which somebody found it out: a peer's misbehaviour or a broken link was reported.
    pub detected: u64,
    /// Runs in which something was done and nobody found it out, and every result was right.
    pub harmless: u64,
    /// Runs in which a madman's lie was believed.
    pub believed: u64,
}

/// What travels in a hostile world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    envelope: Envelope,
    kind: u8,
    body: Vec<u8>,
}

/// The hostile part of a world.
#[derive(Debug)]
pub(crate) struct Hostile {
    hostility: Hostility,
    drones: u32,
    pages: u64,
    prng: Prng,
    sealers: BTreeMap<(DroneId, DroneId), Sealer>,
    openers: BTreeMap<(DroneId, DroneId), Opener>,
    /// The last frames of each link, to be sent again; the last of them may be held back to be overtaken.
    sent: BTreeMap<(DroneId, DroneId), VecDeque<Frame>>,
    held: BTreeMap<(DroneId, DroneId), Frame>,
    pub(crate) tampered: u64,
    pub(crate) lies: u64,
}

/// The kinds of frames, as the driver tells them apart.
const DATA: u8 = 0;
const HEARTBEAT: u8 = 1;

/// How many frames of a link are kept to be sent again.
const KEPT: usize = 8;

/// A frame on its way from one drone to another.
pub(crate) type Sent = (DroneId, DroneId, Frame);

impl Hostility {
    /// Draws one for a world of `drones` drones, at least two.
    pub(crate) fn draw(prng: &mut Prng, drones: u32) -> Self {
        let drone = DroneId(prng.below(u64::from(drones)) as u32);
        let permille = *prng.pick(&[1, 5, 30, 200]);
        match prng.below(5) {
            0..=1 => Self::Network(permille),
            2..=3 => Self::Liar(drone, permille),
            _ => Self::Madman(drone, permille),
        }
    }

    /// The drone that lies, if one does.
    pub(crate) fn liar(self) -> Option<DroneId> {
        match self {
            Self::Network(_) => None,
            Self::Liar(drone, _) | Self::Madman(drone, _) => Some(drone),
        }
    }
}

impl Hostile {
    pub(crate) fn new(hostility: Hostility, drones: u32, pages: u64, seed: u64) -> Self {
        Self {
            hostility,
            drones,
            pages,
            prng: Prng::of(seed, 77),
            sealers: BTreeMap::new(),
            openers: BTreeMap::new(),
            sent: BTreeMap::new(),
            held: BTreeMap::new(),
            tampered: 0,
            lies: 0,
        }
    }

    pub(crate) fn hostility(&self) -> Hostility {
        self.hostility
    }

    /// What goes onto which links when a drone sends a message, with what was done to it in words.
    pub(crate) fn send(
        &mut self,
        from: DroneId,
        to: DroneId,
        mut message: Message,
    ) -> (Vec<Sent>, Option<&'static str>) {
        match self.hostility {
            Hostility::Network(permille) => {
                let frame = self.seal(from, to, DATA, &message);
                if self.prng.below(1000) < permille {
                    self.tampered += 1;
                    self.tamper(from, to, frame)
                } else {
                    (self.pass(from, to, frame), None)
                }
            }
            Hostility::Liar(drone, permille) | Hostility::Madman(drone, permille) => {
                let mut done = None;
                if drone == from && self.prng.below(1000) < permille {
                    let mad = matches!(self.hostility, Hostility::Madman(..));
                    let claims = (self.drones, self.pages, mad);
                    done = lie(&mut self.prng, &mut message, claims);
                }
                let mut frames = vec![(from, to, self.seal(from, to, DATA, &message))];
                if done == Some(crate::lie::TWICE) {
                    frames.push((from, to, self.seal(from, to, DATA, &message)));
                }
                self.lies += u64::from(done.is_some());
                (frames, done)
            }
        }
    }

    /// A sign of life.
    pub(crate) fn heartbeat(&mut self, from: DroneId, to: DroneId) -> Frame {
        let envelope = self.sealer(from, to).seal(HEARTBEAT, &[]);
        Frame {
            envelope,
            kind: HEARTBEAT,
            body: Vec::new(),
        }
    }

    /// What a receiver makes of a frame: a message, or none for a heartbeat.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn open(
        &mut self,
        from: DroneId,
        to: DroneId,
        frame: &Frame,
    ) -> Result<Option<Message>, String> {
        let opener = self.openers.entry((from, to));
        let opener = opener.or_insert_with(|| Opener::new(from, to));
        opener
            .open(frame.envelope, frame.kind, &frame.body)
            .map_err(|breach| breach.to_string())?;
        if frame.kind == HEARTBEAT {
            return Ok(None);
        }
        let message = Message::decode(&frame.body).map_err(|error| error.to_string())?;
        Ok(Some(message))
    }

    fn sealer(&mut self, from: DroneId, to: DroneId) -> &mut Sealer {
        let sealer = self.sealers.entry((from, to));
        sealer.or_insert_with(|| Sealer::new(from, to))
    }

    fn seal(&mut self, from: DroneId, to: DroneId, kind: u8, message: &Message) -> Frame {
        let mut body = Vec::new();
        message.encode(&mut body);
        let envelope = self.sealer(from, to).seal(kind, &body);
        Frame {
            envelope,
            kind,
            body,
        }
    }

    /// A frame goes its way, and what was held back after it.
    fn pass(&mut self, from: DroneId, to: DroneId, frame: Frame) -> Vec<Sent> {
        let kept = self.sent.entry((from, to)).or_default();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(frame.clone());
        let late = self.held.remove(&(from, to));
        let frames = [Some(frame), late].into_iter().flatten();
        frames.map(|frame| (from, to, frame)).collect()
    }

    fn tamper(
        &mut self,
        from: DroneId,
        to: DroneId,
        mut frame: Frame,
    ) -> (Vec<Sent>, Option<&'static str>) {
        let (whole, prng) = (frame.clone(), &mut self.prng);
        match prng.below(7) {
            0 => (Vec::new(), Some("is dropped")),
            1 => {
                let mut frames = self.pass(from, to, frame);
                frames.push((from, to, whole));
                (frames, Some("is repeated"))
            }
            2 => {
                let before = self.held.insert((from, to), frame);
                let frames = before.map(|frame| (from, to, frame));
                (frames.into_iter().collect(), Some("is held back"))
            }
            3 => {
                change(prng, &mut frame);
                (self.pass(from, to, frame), Some("is changed"))
            }
            4 => {
                let left = prng.below(frame.body.len() as u64) as usize;
                frame.body.truncate(left);
                (self.pass(from, to, frame), Some("is shortened"))
            }
            5 if self.drones > 2 => {
                let others = (0..self.drones).map(DroneId);
                let others: Vec<DroneId> = others
                    .filter(|other| *other != from && *other != to)
                    .collect();
                let other = *prng.pick(&others);
                (vec![(from, other, frame)], Some("is misdelivered"))
            }
            _ => {
                let kept = self.sent.get(&(from, to)).map(VecDeque::len);
                let at = prng.index(kept.unwrap_or(0));
                let old = at.map(|at| self.sent[&(from, to)][at].clone());
                let mut frames: Vec<Sent> = old.map(|old| (from, to, old)).into_iter().collect();
                frames.extend(self.pass(from, to, frame));
                (frames, Some("has an old one before it"))
            }
        }
    }
}

/// Flips a bit of the envelope, the kind or the body.
fn change(prng: &mut Prng, frame: &mut Frame) {
    let mut bytes = frame.envelope.to_bytes();
    let envelope_bits = 8 * Envelope::BYTES as u64;
    let bit = prng.below(envelope_bits + 8 * frame.body.len() as u64);
    match bit.checked_sub(envelope_bits) {
        None => {
            bytes[bit as usize / 8] ^= 1 << (bit % 8);
            frame.envelope = Envelope::from_bytes(bytes);
        }
        Some(bit) => frame.body[bit as usize / 8] ^= 1 << (bit % 8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hivemind_protocol::{EpochId, PageId};

    #[test]
    fn whatever_the_network_does_is_found_at_the_next_heartbeat() {
        let (one, two) = (DroneId(0), DroneId(1));
        let mut tampered = 0;
        for seed in 0..500 {
            let mut hostile = Hostile::new(Hostility::Network(200), 2, 10, seed);
            let (mut frames, mut done) = (Vec::new(), false);
            for page in 0..5 {
                let message = Message::PageRefused {
                    epoch: EpochId(0),
                    page: PageId(page),
                };
                let (sent, what) = hostile.send(one, two, message);
                frames.extend(sent);
                // An old frame before the first is none.
                done |= what.is_some_and(|what| what != "has an old one before it" || page > 0);
            }
            frames.push((one, two, hostile.heartbeat(one, two)));
            let opened = frames
                .iter()
                .map(|(from, to, frame)| hostile.open(*from, *to, frame))
                .collect::<Result<Vec<_>, String>>();
            if done {
                assert!(opened.is_err(), "seed {seed}");
                tampered += 1;
            } else {
                assert_eq!(opened.map(|all| all.len()), Ok(6), "seed {seed}");
            }
        }
        assert!(tampered > 200, "only {tampered} links were tampered with");
    }
}
