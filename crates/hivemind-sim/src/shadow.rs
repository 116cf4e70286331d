//! The reference memory byte by byte, with who wrote and who read each byte last, so that races of the
//! simulator's own programs are told apart from faults of the core. Locks and meetings are in `oracle`.

use crate::finding::{Finding, Verdict};
use hivemind_protocol::{Address, DroneId, PAGE_SIZE};
use std::collections::BTreeMap;

/// The reference memory, made page by page as it is touched.
#[derive(Debug)]
pub(crate) struct Shadow {
    drones: usize,
    pages: BTreeMap<u64, Page>,
}

#[derive(Debug)]
struct Page {
    bytes: Vec<u8>,
    /// Who wrote each byte last, and in which of its steps; step 0 is never.
    writers: Vec<(u16, u32)>,
    /// For each byte and drone, in which of its steps it read the byte last.
    readers: Vec<u32>,
}

impl Shadow {
    pub(crate) fn new(drones: u32) -> Self {
        Self {
            drones: drones as usize,
            pages: BTreeMap::new(),
        }
    }

    /// Compares loaded bytes with the reference.
    pub(crate) fn load(
        &mut self,
        drone: DroneId,
        known: &[u32],
        from: Address,
        bytes: &[u8],
    ) -> Verdict<()> {
        let me = drone.0 as usize;
        let drones = self.drones;
        for (address, byte) in (from.0..).zip(bytes) {
            let (page, at) = self.place(address);
            let (writer, step) = page.writers[at];
            if step > known[usize::from(writer)] {
                let what = format!("{drone} loads address {address}, written by drone {writer}");
                return Err(Finding::new("the simulator's program races", what));
            }
            page.readers[at * drones + me] = known[me];
            if page.bytes[at] != *byte {
                let wanted = page.bytes[at];
                return Err(wrong(
                    drone,
                    address,
                    *byte,
                    wanted,
                    (writer, step),
                    (from, bytes),
                ));
            }
        }
        Ok(())
    }

    /// Applies a store to the reference.
    pub(crate) fn store(
        &mut self,
        drone: DroneId,
        known: &[u32],
        to: Address,
        bytes: &[u8],
    ) -> Verdict<()> {
        let me = drone.0 as usize;
        let drones = self.drones;
        for (address, byte) in (to.0..).zip(bytes) {
            let (page, at) = self.place(address);
            let (writer, step) = page.writers[at];
            let readers = &page.readers[at * drones..(at + 1) * drones];
            let read = readers
                .iter()
                .zip(known)
                .position(|(step, known)| step > known);
            let written = (step > known[usize::from(writer)]).then_some(usize::from(writer));
            if let Some(other) = written.or(read) {
                let what = format!("{drone} stores to address {address}, touched by drone {other}");
                return Err(Finding::new("the simulator's program races", what));
            }
            page.bytes[at] = *byte;
            page.writers[at] = (me as u16, known[me]);
        }
        Ok(())
    }

    /// The reference's bytes.
    pub(crate) fn bytes(&self, from: Address, count: usize) -> Vec<u8> {
        let byte = |address: u64| {
            let page = self.pages.get(&(address / PAGE_SIZE as u64));
            page.map_or(0, |page| page.bytes[(address % PAGE_SIZE as u64) as usize])
        };
        (from.0..from.0 + count as u64).map(byte).collect()
    }

    /// Whether any of these bytes was ever written.
    pub(crate) fn was_written(&self, start: u64, end: u64) -> bool {
        let pages = self
            .pages
            .range(start / PAGE_SIZE as u64..=(end - 1) / PAGE_SIZE as u64);
        pages.into_iter().any(|(number, page)| {
            let first = number * PAGE_SIZE as u64;
            let bytes = page.writers.iter().zip(first..);
            bytes
                .into_iter()
                .any(|((_, step), at)| *step > 0 && (start..end).contains(&at))
        })
    }

    fn place(&mut self, address: u64) -> (&mut Page, usize) {
        let drones = self.drones;
        let page = self
            .pages
            .entry(address / PAGE_SIZE as u64)
            .or_insert_with(|| Page {
                bytes: vec![0; PAGE_SIZE],
                writers: vec![(0, 0); PAGE_SIZE],
                readers: vec![0; PAGE_SIZE * drones],
            });
        (page, (address % PAGE_SIZE as u64) as usize)
    }
}

fn wrong(
    drone: DroneId,
    address: u64,
    byte: u8,
    wanted: u8,
    (writer, step): (u16, u32),
    (from, bytes): (Address, &[u8]),
) -> Finding {
    let (page, at) = (address / PAGE_SIZE as u64, address % PAGE_SIZE as u64);
    let from_writer = match step {
        0 => "never written".to_owned(),
        _ => format!("written last by drone {writer} in its step {step}"),
    };
    let what = format!(
        "{drone} read {byte} at page {page} + {at}, which is {wanted}, {from_writer} (a load of {} bytes from {from})",
        bytes.len()
    );
    Finding::new("a read of a wrong value", what)
}
