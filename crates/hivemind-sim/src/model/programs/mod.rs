//! The shipped programs as the model runs them: the same calls in the same order, the same bytes touched in the same
//! order, computing replaced by its time. What the real ones do stands in `apps`; a test there holds that both send
//! the same messages where these don't depend on who is faster.

mod intsort;
mod jacobi;
mod matmul;
mod pi;
mod quicksort;
mod tsp;

use super::Figures;
use super::script::Script;

/// A shipped program with its size.
///
/// ```
/// use hivemind_sim::model::Program;
/// let program = Program::Jacobi { size: 2048, sweeps: 16 };
/// assert_eq!(program.name(), "jacobi");
/// assert_eq!(program.to_string(), "jacobi, 2048² points, 16 sweeps");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Program {
    /// Pi by the midpoint rule.
    Pi {
        /// How many steps.
        steps: u64,
    },
    /// Heat in a plate.
    Jacobi {
        /// Points along a side.
        size: u64,
        /// How many sweeps.
        sweeps: u64,
    },
    /// The product of two matrices.
    Matmul {
        /// Rows and columns.
        size: u64,
    },
    /// Sorting integers by counting. The modelled keys fall evenly on the values.
    Intsort {
        /// How many keys.
        count: u64,
        /// They are smaller than this.
        values: u64,
        /// How often they are ranked.
        rounds: u64,
    },
    /// Quicksort with a shared queue. The modelled numbers fall evenly on all buckets, so that none is split again.
    Quicksort {
        /// How many numbers.
        count: u64,
    },
    /// The shortest tour. The modelled tree has so many nodes below each of 256 prefixes, in a skewed distribution, and the
    /// best tour is known from the start.
    Tsp {
        /// Nodes of the whole tree.
        nodes: u64,
    },
}

impl Program {
    /// All programs, in sizes that 8 to 1024 modelled drones have something to do with and that a machine with 16 GiB
    /// can hold.
    ///
    /// ```
    /// use hivemind_sim::model::Program;
    /// assert_eq!(Program::shipped().len(), 6);
    /// ```
    pub fn shipped() -> Vec<Self> {
        vec![
            Self::Pi {
                steps: 100_000_000_000,
            },
            Self::Jacobi {
                size: 4096,
                sweeps: 8,
            },
            Self::Matmul { size: 1024 },
            Self::Intsort {
                count: 1 << 26,
                values: 1 << 12,
                rounds: 2,
            },
            Self::Quicksort { count: 1 << 26 },
            Self::Tsp { nodes: 1 << 20 },
        ]
    }

    /// What its command is called.
    ///
    /// ```
    /// use hivemind_sim::model::Program;
    /// assert_eq!(Program::Pi { steps: 1000 }.name(), "pi");
    /// ```
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pi { .. } => "pi",
            Self::Jacobi { .. } => "jacobi",
            Self::Matmul { .. } => "matmul",
            Self::Intsort { .. } => "intsort",
            Self::Quicksort { .. } => "quicksort",
            Self::Tsp { .. } => "tsp",
        }
    }

    /// Whether a model of it on so many drones ends within an hour. Quicksort's doesn't: every drone reads a table of the sizes
    /// of 16 groups for each pair of drones, and gathers each of its buckets from all others.
    ///
    /// ```
    /// use hivemind_sim::model::Program;
    /// assert!(!Program::Quicksort { count: 1 << 26 }.is_for(1024));
    /// ```
    pub fn is_for(&self, drones: u32) -> bool {
        !matches!(self, Self::Quicksort { .. }) || drones <= 256
    }

    /// The program as each drone runs it.
    pub(crate) fn scripts(&self, drones: u32, figures: &Figures) -> Vec<Box<dyn Script>> {
        match *self {
            Self::Pi { steps } => pi::scripts(steps, drones, figures),
            Self::Jacobi { size, sweeps } => jacobi::scripts(size, sweeps, drones, figures),
            Self::Matmul { size } => matmul::scripts(size, drones, figures),
            Self::Intsort {
                count,
                values,
                rounds,
            } => intsort::scripts(
                intsort::Task {
                    count,
                    values,
                    rounds,
                },
                drones,
                figures,
            ),
            Self::Quicksort { count } => quicksort::scripts(count, drones, figures),
            Self::Tsp { nodes } => tsp::scripts(nodes, drones, figures),
        }
    }

    /// What one core takes without a shared memory, by the same figures.
    pub(crate) fn serial_ns(&self, figures: &Figures) -> f64 {
        let all = |count: u64, name| count as f64 * figures.ns(name);
        match *self {
            Self::Pi { steps } => all(steps, "pi step"),
            Self::Jacobi { size, sweeps } => all((size - 2) * (size - 2) * sweeps, "jacobi point"),
            Self::Matmul { size } => all(size * size * size, "matmul product"),
            Self::Intsort { count, rounds, .. } => all(count * rounds, "intsort key"),
            Self::Quicksort { count } => quicksort::sort_ns(count as f64, figures),
            Self::Tsp { nodes } => all(nodes, "tsp node"),
        }
    }

    /// The pages of the region that it needs.
    pub(crate) fn pages(&self, drones: u32) -> u64 {
        let drones = u64::from(drones);
        let bytes = match *self {
            Self::Pi { .. } | Self::Tsp { .. } => 0,
            Self::Jacobi { size, .. } => 16 * size * size,
            Self::Matmul { size } => 24 * size * size,
            Self::Intsort { count, values, .. } => 8 * count + 4 * (values + 1024) * (drones + 1),
            Self::Quicksort { count } => 8 * count + quicksort::table_bytes(count, drones),
        };
        (bytes + bytes / 8 + (16 << 20)) / 4096
    }
}

impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, ", self.name())?;
        match self {
            Self::Pi { steps } => write!(f, "{steps} steps"),
            Self::Jacobi { size, sweeps } => write!(f, "{size}² points, {sweeps} sweeps"),
            Self::Matmul { size } => write!(f, "{size}² elements"),
            Self::Intsort {
                count,
                values,
                rounds,
            } => {
                write!(f, "{count} keys below {values}, {rounds} rounds")
            }
            Self::Quicksort { count } => write!(f, "{count} numbers"),
            Self::Tsp { nodes } => write!(f, "{nodes} nodes"),
        }
    }
}
