//! The byte-level calls: the table of the 2018 report, on the same memory as the typed views.

use crate::{Hive, Result};
use hivemind_protocol::{Address, LockId};

impl Hive {
    /// Allocates `bytes` bytes, aligned for every plain type. Any drone may call it at any time.
    ///
    /// ```
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
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let block = hive.malloc(64)?;
    /// hive.free_at(block)?;
    /// let error = hive.free_at(block).expect_err("it is free already");
    /// assert!(error.to_string().contains("not the start of an allocated block"));
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// No block in use starts there: a foreign address, or one that was freed before.
    pub fn free_at(&mut self, address: Address) -> Result<()> {
        self.release_block(address)
    }

    /// One byte.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let block = hive.malloc(2)?;
    /// hive.write(block, 7)?;
    /// assert_eq!(hive.read(block)?, 7);
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// Out of bounds; or in a block that this drone has freed since its last acquire. What another drone freed is not
    /// noticed here, as it is at a [`crate::Ptr`]: it reads as it lies there.
    pub fn read(&mut self, address: Address) -> Result<u8> {
        let mut byte = [0];
        self.copy_out(address, &mut byte)?;
        Ok(byte[0])
    }

    /// `len` bytes.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let block = hive.malloc(100)?;
    /// hive.write_n(block, b"honey")?;
    /// assert_eq!(hive.read_n(block, 5)?, b"honey");
    /// assert!(hive.read_n(block, usize::MAX).is_err()); // out of bounds
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// Out of bounds; or in a block that this drone has freed since its last acquire. What another drone freed is not
    /// noticed here, as it is at a [`crate::Ptr`]: it reads as it lies there.
    pub fn read_n(&mut self, address: Address, len: usize) -> Result<Vec<u8>> {
        self.check_range(address, len as u64)?;
        let mut bytes = vec![0; len];
        self.copy_out(address, &mut bytes)?;
        Ok(bytes)
    }

    /// A float of eight bytes, as this machine stores it.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let block = hive.malloc(8)?;
    /// hive.write_float(block, 2.5)?;
    /// assert_eq!(hive.read_float(block)?, 2.5);
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// Out of bounds; or in a block that this drone has freed since its last acquire. What another drone freed is not
    /// noticed here, as it is at a [`crate::Ptr`]: it reads as it lies there.
    pub fn read_float(&mut self, address: Address) -> Result<f64> {
        let mut bytes = [0; 8];
        self.copy_out(address, &mut bytes)?;
        Ok(f64::from_ne_bytes(bytes))
    }

    /// Stores one byte.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// use hivemind::Address;
    /// let block = hive.malloc(2)?;
    /// hive.write(Address(block.0 + 1), 9)?;
    /// assert_eq!(hive.read_n(block, 2)?[1], 9);
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// Out of bounds; or in a block that this drone has freed since its last acquire. What another drone freed is not
    /// noticed here, as it is at a [`crate::Ptr`]: it reads as it lies there.
    pub fn write(&mut self, address: Address, value: u8) -> Result<()> {
        self.copy_in(address, &[value])
    }

    /// Stores bytes.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let block = hive.malloc(3)?;
    /// hive.write_n(block, &[1, 2, 3])?;
    /// assert_eq!(hive.read_n(block, 3)?, [1, 2, 3]);
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// Out of bounds; or in a block that this drone has freed since its last acquire. What another drone freed is not
    /// noticed here, as it is at a [`crate::Ptr`]: it reads as it lies there.
    pub fn write_n(&mut self, address: Address, bytes: &[u8]) -> Result<()> {
        self.copy_in(address, bytes)
    }

    /// Stores a float of eight bytes.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let block = hive.malloc(8)?;
    /// hive.write_float(block, -0.25)?;
    /// assert_eq!(hive.read_n(block, 8)?, (-0.25_f64).to_ne_bytes());
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// Out of bounds; or in a block that this drone has freed since its last acquire. What another drone freed is not
    /// noticed here, as it is at a [`crate::Ptr`]: it reads as it lies there.
    pub fn write_float(&mut self, address: Address, value: f64) -> Result<()> {
        self.copy_in(address, &value.to_ne_bytes())
    }
}

/// The fifteen calls of the 2018 report and nothing else, for programs that are written against them.
///
/// Locks are taken and let go by number here, and nothing is typed. The memory is the same: `hive` gives
/// everything else.
///
/// ```
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
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// use hivemind::ByteHive;
    /// let hive = ByteHive::startup()?;
    /// assert!(ByteHive::startup().is_err()); // a process joins once
    /// # hive.exit() }
    /// ```
    ///
    /// # Errors
    /// As for [`Hive::join`].
    pub fn startup() -> Result<Self> {
        Hive::join().map(|hive| Self { hive })
    }

    /// Allocates; see [`Hive::malloc`].
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::ByteHive::startup()?;
    /// let block = hive.malloc(100)?;
    /// let error = hive.malloc(1 << 40).expect_err("the region is smaller");
    /// assert!(error.to_string().contains("the largest free block has"));
    /// hive.free(block)?;
    /// # hive.exit() }
    /// ```
    ///
    /// # Errors
    /// As for [`Hive::malloc`].
    pub fn malloc(&mut self, bytes: usize) -> Result<Address> {
        self.hive.malloc(bytes)
    }

    /// Frees; see [`Hive::free_at`].
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::ByteHive::startup()?;
    /// let block = hive.malloc(100)?;
    /// hive.free(block)?;
    /// assert!(hive.free(block).is_err()); // no longer the start of a block
    /// # hive.exit() }
    /// ```
    ///
    /// # Errors
    /// As for [`Hive::free_at`].
    pub fn free(&mut self, address: Address) -> Result<()> {
        self.hive.free_at(address)
    }

    /// Waits for all drones at barrier `id`.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::ByteHive::startup()?;
    /// hive.barrier(1)?; // after the first phase
    /// hive.barrier(2)?; // after the second
    /// # hive.exit() }
    /// ```
    ///
    /// # Errors
    /// As for [`Hive::barrier`].
    pub fn barrier(&mut self, id: u32) -> Result<()> {
        self.hive.barrier_at(id)
    }

    /// Takes lock `id`.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::ByteHive::startup()?;
    /// hive.lock_acquire(3)?;
    /// assert!(hive.lock_acquire(3).is_err()); // locks are not re-entrant
    /// hive.lock_release(3)?;
    /// # hive.exit() }
    /// ```
    ///
    /// # Errors
    /// As for [`Hive::lock`].
    pub fn lock_acquire(&mut self, id: u32) -> Result<()> {
        self.hive.acquire(LockId(u64::from(id)))
    }

    /// Lets lock `id` go.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::ByteHive::startup()?;
    /// assert!(hive.lock_release(3).is_err()); // not held
    /// hive.lock_acquire(3)?;
    /// hive.lock_release(3)?;
    /// # hive.exit() }
    /// ```
    ///
    /// # Errors
    /// The lock is not held by this drone; a drone was lost.
    pub fn lock_release(&mut self, id: u32) -> Result<()> {
        self.hive.release(LockId(u64::from(id)))
    }

    /// How many drones there are.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::ByteHive::startup()?;
    /// assert!(hive.proc_id() < hive.nprocs());
    /// # hive.exit() }
    /// ```
    pub fn nprocs(&self) -> usize {
        self.hive.drones()
    }

    /// Which drone this is, counted from 0.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::ByteHive::startup()?;
    /// if hive.proc_id() == 0 {
    ///     println!("{} drones", hive.nprocs());
    /// }
    /// # hive.exit() }
    /// ```
    pub fn proc_id(&self) -> usize {
        self.hive.me()
    }

    /// One byte; see [`Hive::read`].
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::ByteHive::startup()?;
    /// let block = hive.malloc(1)?;
    /// assert_eq!(hive.read(block)?, 0); // fresh memory is zero
    /// # hive.exit() }
    /// ```
    ///
    /// # Errors
    /// As for [`Hive::read`].
    pub fn read(&mut self, address: Address) -> Result<u8> {
        self.hive.read(address)
    }

    /// `len` bytes; see [`Hive::read_n`].
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::ByteHive::startup()?;
    /// let block = hive.malloc(5)?;
    /// hive.write_n(block, b"honey")?;
    /// assert_eq!(hive.read_n(block, 5)?, b"honey");
    /// # hive.exit() }
    /// ```
    ///
    /// # Errors
    /// As for [`Hive::read_n`].
    pub fn read_n(&mut self, address: Address, len: usize) -> Result<Vec<u8>> {
        self.hive.read_n(address, len)
    }

    /// A float; see [`Hive::read_float`].
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::ByteHive::startup()?;
    /// let block = hive.malloc(8)?;
    /// assert_eq!(hive.read_float(block)?, 0.0);
    /// # hive.exit() }
    /// ```
    ///
    /// # Errors
    /// As for [`Hive::read_float`].
    pub fn read_float(&mut self, address: Address) -> Result<f64> {
        self.hive.read_float(address)
    }

    /// Stores one byte; see [`Hive::write`].
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::ByteHive::startup()?;
    /// let block = hive.malloc(1)?;
    /// hive.write(block, 7)?;
    /// assert_eq!(hive.read(block)?, 7);
    /// # hive.exit() }
    /// ```
    ///
    /// # Errors
    /// As for [`Hive::write`].
    pub fn write(&mut self, address: Address, value: u8) -> Result<()> {
        self.hive.write(address, value)
    }

    /// Stores bytes; see [`Hive::write_n`].
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::ByteHive::startup()?;
    /// use hivemind::Address;
    /// assert!(hive.write_n(Address(u64::MAX), &[1, 2]).is_err()); // out of bounds
    /// # hive.exit() }
    /// ```
    ///
    /// # Errors
    /// As for [`Hive::write_n`].
    pub fn write_n(&mut self, address: Address, bytes: &[u8]) -> Result<()> {
        self.hive.write_n(address, bytes)
    }

    /// Stores a float; see [`Hive::write_float`].
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::ByteHive::startup()?;
    /// let block = hive.malloc(8)?;
    /// hive.write_float(block, 1.5)?;
    /// assert_eq!(hive.read_float(block)?, 1.5);
    /// # hive.exit() }
    /// ```
    ///
    /// # Errors
    /// As for [`Hive::write_float`].
    pub fn write_float(&mut self, address: Address, value: f64) -> Result<()> {
        self.hive.write_float(address, value)
    }

    /// Takes leave; see [`Hive::leave`].
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::ByteHive::startup()?;
    /// # hive.exit() }
    /// ```
    ///
    /// # Errors
    /// As for [`Hive::leave`].
    pub fn exit(self) -> Result<()> {
        self.hive.leave()
    }

    /// Everything else that a hive can do.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::ByteHive::startup()?;
    /// let total = hive.hive().sum(1_u32)?;
    /// assert_eq!(total as usize, hive.nprocs());
    /// # hive.exit() }
    /// ```
    pub fn hive(&mut self) -> &mut Hive {
        &mut self.hive
    }
}
