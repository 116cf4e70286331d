//! Rounds of one case: the figure and its floor taken by turns on all drones, and what drone 0 saw.

use std::time::{Duration, Instant};

use hivemind::Hive;
use serde::{Deserialize, Serialize};

use crate::bare::Wires;
use crate::inside::Operation;

/// What a case measured, as drone 0 prints it: a value a round.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Series {
    /// The case's name.
    pub(crate) name: String,
    /// What it took, in nanoseconds an operation.
    pub(crate) ours_ns: Vec<f64>,
    /// What the floor took, likewise; as many. Empty where there is none.
    pub(crate) floor_ns: Vec<f64>,
    /// Messages an operation that drone 0 sent and received; none where they aren't counted.
    pub(crate) messages: Option<f64>,
    /// Bytes an operation, likewise.
    pub(crate) bytes: Option<f64>,
}

/// What one turn gave: a time and traffic, and for how many operations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    took: Duration,
    operations: u32,
    messages: u64,
    bytes: u64,
}

impl Turn {
    /// A turn without messages of the hive's.
    pub(crate) fn bare(took: Duration, operations: u32) -> Self {
        Self {
            took,
            operations,
            messages: 0,
            bytes: 0,
        }
    }

    /// A row of so many, by the clock alone.
    pub(crate) fn taken(operation: &mut impl Operation, count: u32) -> Self {
        (0..count).for_each(|at| operation.prepare(at));
        let begin = Instant::now();
        (0..count).for_each(|at| operation.run(at));
        Self::bare(begin.elapsed(), count)
    }

    /// Something more that each operation takes, measured by itself.
    pub(crate) fn plus(self, other: Self) -> Self {
        let more = other.took * self.operations / other.operations.max(1);
        Self {
            took: self.took + more,
            ..self
        }
    }

    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            took: self.took + other.took,
            operations: self.operations + other.operations,
            messages: self.messages + other.messages,
            bytes: self.bytes + other.bytes,
        }
    }

    /// The same, with the traffic from one count to another.
    fn with(self, before: (u64, u64), now: (u64, u64)) -> Self {
        Self {
            messages: now.0 - before.0,
            bytes: now.1 - before.1,
            ..self
        }
    }

    /// The same, of another number of operations.
    pub(crate) fn of(self, operations: u32) -> Self {
        Self { operations, ..self }
    }

    fn each_ns(self) -> f64 {
        self.took.as_nanos() as f64 / f64::from(self.operations.max(1))
    }
}

/// One drone that measures.
pub(crate) struct Bench {
    pub(crate) hive: Hive,
    pub(crate) wires: Wires,
    rounds: u32,
}

/// So long after a line-up all who have nothing to do are waiting, and none has gone to sleep over it.
const SETTLING: Duration = Duration::from_micros(25);

/// Rounds before the first that counts: pages find their homes and neighbours their trust.
const WARM_UP_ROUNDS: u32 = 4;

impl Bench {
    pub(crate) fn new(mut hive: Hive, rounds: u32) -> anyhow::Result<Self> {
        let wires = Wires::connect(&mut hive)?;
        Ok(Self {
            hive,
            wires,
            rounds,
        })
    }

    pub(crate) fn is_first(&self) -> bool {
        self.hive.is_first()
    }

    /// Lets all drones begin at the same time, as nearly as two messages allow.
    pub(crate) fn line_up(&mut self) -> anyhow::Result<()> {
        self.wires.round_trips(2, crate::bare::SHORT_BYTES)?;
        Ok(())
    }

    /// Does something of `operations` operations, all drones at the same time, and notes its time, and at drone 0 what it
    /// sent and received. Collective.
    pub(crate) fn timed(
        &mut self,
        operations: u32,
        work: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<Turn> {
        // Asking for it takes longer than many a message: who only answers goes on at once, as at the floor.
        let before = self.is_first().then(|| self.traffic());
        self.line_up()?;
        let begin = Instant::now();
        work(self)?;
        let turn = Turn::bare(begin.elapsed(), operations);
        Ok(match before {
            Some(before) => turn.with(before, self.traffic()),
            None => turn,
        })
    }

    /// As [`timed`](Self::timed), of something that drone 0 does alone while all others wait for it in a barrier. The clock starts
    /// when they do: who is just about to wait is slower to answer than who waits, or who computes.
    pub(crate) fn timed_alone(
        &mut self,
        operations: u32,
        work: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<Turn> {
        self.line_up()?;
        let turn = if self.is_first() {
            let before = self.traffic();
            let begin = Instant::now();
            while begin.elapsed() < SETTLING {
                std::hint::spin_loop();
            }
            let begin = Instant::now();
            work(self)?;
            Turn::bare(begin.elapsed(), operations).with(before, self.traffic())
        } else {
            Turn::bare(Duration::ZERO, operations)
        };
        self.hive.barrier()?;
        Ok(turn)
    }

    /// Takes a figure and its floor by turns, every second round the other way round; collective.
    pub(crate) fn compare(
        &mut self,
        mut ours: impl FnMut(&mut Self) -> anyhow::Result<Turn>,
        mut floor: impl FnMut(&mut Self) -> anyhow::Result<Turn>,
    ) -> anyhow::Result<Series> {
        let mut series = Series::default();
        let (mut operations, mut messages, mut bytes) = (0, 0, 0);
        for round in 0..WARM_UP_ROUNDS + self.rounds {
            let floor_first = round % 2 == 0;
            let mut floor = |bench: &mut Self| {
                bench.line_up()?;
                floor(bench)
            };
            let before = floor_first.then(|| floor(self)).transpose()?;
            let turn = ours(self)?;
            let floor_turn = match before {
                Some(turn) => turn,
                None => floor(self)?,
            };
            if round >= WARM_UP_ROUNDS {
                series.ours_ns.push(turn.each_ns());
                series.floor_ns.push(floor_turn.each_ns());
                operations += turn.operations;
                messages += turn.messages;
                bytes += turn.bytes;
            }
        }
        let each = |sum: u64| sum as f64 / f64::from(operations.max(1));
        series.messages = Some(each(messages));
        series.bytes = Some(each(bytes));
        Ok(series)
    }

    fn traffic(&self) -> (u64, u64) {
        let report = self.hive.stats();
        let counts = report.counts;
        (
            counts.messages_sent + counts.messages_received,
            report.bytes_sent + report.bytes_received,
        )
    }
}
