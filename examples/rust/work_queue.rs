//! A queue of work that begets work: the area under a curve, to a given accuracy. Where the curve is steep a piece is
//! halved, and the halves go back into the queue; a drone that finds it empty sleeps until another puts something in, or
//! until all is done.
//!
//! ```console
//! $ cargo build --release -p apps --example work_queue
//! $ hivemind run -n 4 target/release/examples/work_queue
//! ```

use bytemuck::{Pod, Zeroable};
use hivemind::Hive;

/// Pieces that are to be looked at.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Work {
    pieces: [[f64; 2]; MOST],
    count: u64,
    /// How many drones look at a piece now, and may put halves of it here.
    busy: u64,
    area: f64,
}

/// The last is halved first, so few wait at a time.
const MOST: usize = 250;

/// Something has been put in, or nothing will be any more.
const CHANGED: u32 = 0;

const ACCURACY: f64 = 1e-9;

fn main() -> hivemind::Result<()> {
    let mut hive = Hive::join()?;
    let mut all = Work::zeroed();
    (all.pieces[0], all.count) = ([0.0, 2.0], 1);
    let work = hive.mutex(all)?;

    let mut done = 0_u64;
    while let Some(piece) = next(&mut hive, &work)? {
        let (whole, halves) = look_at(piece);
        done += 1;

        let mut guard = work.lock(&mut hive)?;
        guard.busy -= 1;
        let room = guard.count as usize + 2 <= MOST;
        if (whole - halves).abs() < ACCURACY * (piece[1] - piece[0]) || !room {
            guard.area += halves;
        } else {
            let middle = (piece[0] + piece[1]) / 2.0;
            for half in [[piece[0], middle], [middle, piece[1]]] {
                let at = guard.count as usize;
                guard.pieces[at] = half;
                guard.count += 1;
            }
        }
        guard.signal_all(CHANGED)?;
        guard.release()?;
    }

    let pieces = hive.sum(done)?;
    if hive.is_first() {
        let area = work.lock(&mut hive)?.area;
        println!("area {area:.6} from {pieces} pieces");
    }
    work.free(&mut hive)?;
    hive.leave()
}

/// A piece to look at; none when there will be no more.
fn next(hive: &mut Hive, work: &hivemind::Mutex<Work>) -> hivemind::Result<Option<[f64; 2]>> {
    let mut guard = work.lock(hive)?;
    guard.wait_while(CHANGED, |work| work.count == 0 && work.busy > 0)?;
    let piece = guard.count.checked_sub(1).map(|last| {
        guard.count = last;
        guard.busy += 1;
        guard.pieces[last as usize]
    });
    guard.release()?;
    Ok(piece)
}

/// The area under a piece of the curve, and that under its halves.
fn look_at([from, to]: [f64; 2]) -> (f64, f64) {
    let curve = |x: f64| (x * x * 20.0).sin() + 2.0;
    let simpson =
        |a: f64, b: f64| (b - a) / 6.0 * (curve(a) + 4.0 * curve((a + b) / 2.0) + curve(b));
    let middle = (from + to) / 2.0;
    (
        simpson(from, to),
        simpson(from, middle) + simpson(middle, to),
    )
}
