//! The byte-level calls: the table of the 2018 report, on the same memory as the typed views.

use crate::{Hive, Result};
use hivemind_protocol::{Address, LockId};

impl Hive {
    /// Allocates `bytes` bytes, aligned for every plain type. Any drone may call it at any time.
    ///
    /// ```standalone_crate
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let block = hive.malloc(100)?;
    /// hive.write_n(block, b"nectar")?;
    /// assert_eq!(hive.read_n(block, 6)?, b"nectar");
    /// hive.free_at(block)?;
    /// assert!(hive.free_at(block).is_err());
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// Not enough memory; names the largest free block.
    pub fn malloc(&mut self, bytes: usize) -> Result<Address> {
        self.allocate(bytes as u64, 16)
    }

    /// Gives a block from [`Hive::malloc`] back. Any drone may call it at any time.
    ///
    /// # Errors
    /// No block in use starts there: a foreign address, or one that was freed before.
    pub fn free_at(&mut self, address: Address) -> Result<()> {
        self.release_block(address)
    }

    /// One byte.
    ///
    /// # Errors
    /// Out of bounds, or freed by this drone.
    pub fn read(&mut self, address: Address) -> Result<u8> {
        let mut byte = [0];
        self.copy_out(address, &mut byte)?;
        Ok(byte[0])
    }

    /// `len` bytes.
    ///
    /// # Errors
    /// Out of bounds, or freed by this drone.
    pub fn read_n(&mut self, address: Address, len: usize) -> Result<Vec<u8>> {
        self.check_range(address, len as u64)?;
        let mut bytes = vec![0; len];
        self.copy_out(address, &mut bytes)?;
        Ok(bytes)
    }

    /// A float of eight bytes, as this machine stores it.
    ///
    /// # Errors
    /// Out of bounds, or freed by this drone.
    pub fn read_float(&mut self, address: Address) -> Result<f64> {
        let mut bytes = [0; 8];
        self.copy_out(address, &mut bytes)?;
        Ok(f64::from_ne_bytes(bytes))
    }

    /// Stores one byte.
    ///
    /// # Errors
    /// Out of bounds, or freed by this drone.
    pub fn write(&mut self, address: Address, value: u8) -> Result<()> {
        self.copy_in(address, &[value])
    }

    /// Stores bytes.
    ///
    /// # Errors
    /// Out of bounds, or freed by this drone.
    pub fn write_n(&mut self, address: Address, bytes: &[u8]) -> Result<()> {
        self.copy_in(address, bytes)
    }

    /// Stores a float of eight bytes.
    ///
    /// # Errors
    /// Out of bounds, or freed by this drone.
    pub fn write_float(&mut self, address: Address, value: f64) -> Result<()> {
        self.copy_in(address, &value.to_ne_bytes())
    }
}

/// The fifteen calls of the 2018 report and nothing else, for programs that are written against them.
///
/// Locks are taken and let go by number here, and nothing is typed. The memory is the same: `hive` gives
/// everything else.
///
/// ```standalone_crate
/// use hivemind::ByteHive;
/// # fn main() -> hivemind::Result<()> {
/// let mut hive = ByteHive::startup()?;
/// let block = hive.malloc(8)?;
/// hive.lock_acquire(1)?;
/// hive.write_float(block, 2.5)?;
/// hive.lock_release(1)?;
/// assert_eq!(hive.read_float(block)?, 2.5);
/// hive.free(block)?;
/// hive.exit()
/// # }
/// ```
#[derive(Debug)]
pub struct ByteHive {
    hive: Hive,
}

impl ByteHive {
    /// Joins the hive; see [`Hive::join`].
    ///
    /// # Errors
    /// As for [`Hive::join`].
    pub fn startup() -> Result<Self> {
        Hive::join().map(|hive| Self { hive })
    }

    /// Allocates; see [`Hive::malloc`].
    ///
    /// # Errors
    /// As for [`Hive::malloc`].
    pub fn malloc(&mut self, bytes: usize) -> Result<Address> {
        self.hive.malloc(bytes)
    }

    /// Frees; see [`Hive::free_at`].
    ///
    /// # Errors
    /// As for [`Hive::free_at`].
    pub fn free(&mut self, address: Address) -> Result<()> {
        self.hive.free_at(address)
    }

    /// Waits for all drones at barrier `id`.
    ///
    /// # Errors
    /// As for [`Hive::barrier`].
    pub fn barrier(&mut self, id: u32) -> Result<()> {
        self.hive.barrier_at(id)
    }

    /// Takes lock `id`.
    ///
    /// # Errors
    /// As for [`Hive::lock`].
    pub fn lock_acquire(&mut self, id: u32) -> Result<()> {
        self.hive.acquire(LockId(u64::from(id)))
    }

    /// Lets lock `id` go.
    ///
    /// # Errors
    /// The lock is not held by this drone; a drone was lost.
    pub fn lock_release(&mut self, id: u32) -> Result<()> {
        self.hive.release(LockId(u64::from(id)))
    }

    /// How many drones there are.
    pub fn nprocs(&self) -> usize {
        self.hive.drones()
    }

    /// Which drone this is, counted from 0.
    pub fn proc_id(&self) -> usize {
        self.hive.me()
    }

    /// One byte; see [`Hive::read`].
    ///
    /// # Errors
    /// As for [`Hive::read`].
    pub fn read(&mut self, address: Address) -> Result<u8> {
        self.hive.read(address)
    }

    /// `len` bytes; see [`Hive::read_n`].
    ///
    /// # Errors
    /// As for [`Hive::read_n`].
    pub fn read_n(&mut self, address: Address, len: usize) -> Result<Vec<u8>> {
        self.hive.read_n(address, len)
    }

    /// A float; see [`Hive::read_float`].
    ///
    /// # Errors
    /// As for [`Hive::read_float`].
    pub fn read_float(&mut self, address: Address) -> Result<f64> {
        self.hive.read_float(address)
    }

    /// Stores one byte; see [`Hive::write`].
    ///
    /// # Errors
    /// As for [`Hive::write`].
    pub fn write(&mut self, address: Address, value: u8) -> Result<()> {
        self.hive.write(address, value)
    }

    /// Stores bytes; see [`Hive::write_n`].
    ///
    /// # Errors
    /// As for [`Hive::write_n`].
    pub fn write_n(&mut self, address: Address, bytes: &[u8]) -> Result<()> {
        self.hive.write_n(address, bytes)
    }

    /// Stores a float; see [`Hive::write_float`].
    ///
    /// # Errors
    /// As for [`Hive::write_float`].
    pub fn write_float(&mut self, address: Address, value: f64) -> Result<()> {
        self.hive.write_float(address, value)
    }

    /// Takes leave; see [`Hive::leave`].
    ///
    /// # Errors
    /// As for [`Hive::leave`].
    pub fn exit(self) -> Result<()> {
        self.hive.leave()
    }

    /// Everything else that a hive can do.
    pub fn hive(&mut self) -> &mut Hive {
        &mut self.hive
    }
}
