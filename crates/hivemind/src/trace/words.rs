//! What an event's text says of faults, calls, messages and notes. The kinds of events are listed in
//! `hivemind_trace::Happening`.

use hivemind_protocol::{
    AccessKind, Command, Failure, Interval, Meeting, MeetingKind, Message, Met, Note, Outcome,
    PageId, PageRun,
};
use hivemind_trace::Words;

/// What a program's call is: one that waits, or one that is over at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Waits,
    Releases,
    Signals,
    Prefetches,
}

impl Kind {
    /// The same in an event that says that it was refused.
    pub(super) fn failing(self) -> &'static str {
        match self {
            Self::Waits => "wait",
            Self::Releases => "release",
            Self::Signals => "signal",
            Self::Prefetches => "prefetch",
        }
    }

    /// The first word of its event.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Waits => "waits",
            Self::Releases => "releases",
            Self::Signals => "signals",
            Self::Prefetches => "prefetches",
        }
    }
}

/// A fault: `read pages=12`.
pub(super) fn fault(page: PageId, kind: AccessKind) -> String {
    collect(
        match kind {
            AccessKind::Read => "read",
            AccessKind::Write => "write",
        },
        |words| words.pages([(page.0, 1)]),
    )
}

/// A call, and the word for it: whether it waits, or what it does at once. `meetings` counts the meetings, this one
/// included.
pub(super) fn command(command: &Command, meetings: u64) -> (String, Kind) {
    let text = match command {
        Command::Acquire(lock) => collect("acquire", |words| words.field("lock", lock.0)),
        Command::TryAcquire(lock) => collect("try", |words| words.field("lock", lock.0)),
        Command::Release(lock) => {
            return (
                collect("", |words| words.field("lock", lock.0)),
                Kind::Releases,
            );
        }
        Command::Wait { lock, condition } => collect("sleep", |words| {
            words.field("lock", lock.0);
            words.field("condition", condition.0);
        }),
        Command::Signal {
            lock,
            condition,
            all,
        } => {
            let text = collect("", |words| {
                words.field("lock", lock.0);
                words.field("condition", condition.0);
                words.field("all", if *all { "yes" } else { "no" });
            });
            return (text, Kind::Signals);
        }
        Command::Prefetch(pages) => {
            let text = collect("", |words| words.pages([pair(pages)]));
            return (text, Kind::Prefetches);
        }
        Command::Meet(called) => collect("", |words| {
            meeting(words, called);
            // Who arrives at a split barrier comes out of it when he departs.
            let what = match called.kind {
                MeetingKind::Split(_) => "comes",
                _ => "meeting",
            };
            words.field(what, meetings);
        }),
        Command::Depart => collect("depart", |words| words.field("meeting", meetings)),
        Command::Allocate { bytes, align } => collect("allocate", |words| {
            words.field("bytes", bytes);
            words.field("align", align);
        }),
        Command::Measure(address) => collect("measure", |words| words.field("address", address.0)),
        Command::Free(address) => collect("free", |words| words.field("address", address.0)),
    };
    (text, Kind::Waits)
}

/// How a wait went.
pub(super) fn result(words: &mut Words<'_>, result: &Result<Outcome, Failure>) {
    let (how, block) = match result {
        Ok(Outcome::Done) => ("done", None),
        Ok(Outcome::Unavailable) => ("unavailable", None),
        Ok(Outcome::Allocated(block)) => ("done", Some(*block)),
        Ok(Outcome::Met { allocated, .. }) => ("done", *allocated),
        Err(Failure::Refused(_)) => ("refused", None),
        Err(Failure::Lost(_)) => ("lost", None),
    };
    words.field("result", how);
    if let Some(block) = block {
        words.field("address", block.address.0);
    }
}

/// What the core noted.
pub(super) fn note(words: &mut Words<'_>, note: &Note) {
    match note {
        Note::TwinMade { page } => {
            words.say("makes twin");
            words.pages([(page.0, 1)]);
        }
        Note::DiffMade {
            page,
            interval,
            bytes,
        } => {
            words.say("makes diff");
            words.pages([(page.0, 1)]);
            words.field("interval", interval.0);
            words.field("bytes", bytes);
        }
        Note::DiffApplied {
            page,
            interval,
            bytes,
        } => {
            words.say("applies diff");
            words.pages([(page.0, 1)]);
            if let Some(id) = interval {
                words.drone("of", id.creator.0);
                words.field("interval", id.index.0);
            }
            words.field("bytes", bytes);
        }
        Note::Invalidated(run) => {
            words.say("drops");
            words.pages([pair(run)]);
        }
        Note::IntervalEnded { index, pages } => {
            words.say("closes");
            words.field("interval", index.0);
            words.pages(pages.iter().map(pair));
        }
        Note::EpochEnded { epoch, collection } => {
            words.say("forgets");
            words.field("epoch", epoch.0);
            words.field("by", if *collection { "collection" } else { "meeting" });
        }
    }
}

/// What a message carries, its name apart.
pub(super) fn message(words: &mut Words<'_>, message: &Message) {
    match message {
        Message::PageRequest {
            epoch,
            pages,
            again,
        } => {
            words.pages(pages.iter().map(pair));
            words.field("epoch", epoch.0);
            if *again {
                words.field("again", "yes");
            }
        }
        Message::PageReply { epoch, pages, .. } => {
            each_page(words, pages.iter().map(|copy| copy.page));
            words.field("epoch", epoch.0);
        }
        Message::PagePush { epoch, pages } => {
            each_page(words, pages.iter().map(|(page, _)| *page));
            words.field("epoch", epoch.0);
        }
        Message::PageRefused { epoch, page } => {
            words.pages([(page.0, 1)]);
            words.field("epoch", epoch.0);
        }
        Message::DiffRequest {
            epoch,
            page,
            after,
            upto,
            ..
        } => {
            words.pages([(page.0, 1)]);
            words.field("after", after.0);
            words.field("upto", upto.0);
            words.field("epoch", epoch.0);
        }
        Message::DiffReply {
            epoch,
            page,
            upto,
            diffs,
        } => {
            let changed: usize = diffs.iter().map(|(_, diff)| diff.bytes().len()).sum();
            words.pages([(page.0, 1)]);
            words.field("upto", upto.0);
            words.field("diffs", diffs.len());
            words.field("changed_bytes", changed);
            words.field("epoch", epoch.0);
        }
        Message::LockRequest {
            epoch,
            lock,
            requester,
            forwarded,
            tries,
            ..
        } => {
            words.field("lock", lock.0);
            words.drone("requester", requester.0);
            for (flag, name) in [(forwarded, "forwarded"), (tries, "tries")] {
                if *flag {
                    words.field(name, "yes");
                }
            }
            words.field("epoch", epoch.0);
        }
        Message::LockGrant {
            epoch,
            lock,
            intervals,
            sleepers,
            pages,
            again,
            ..
        } => {
            words.field("lock", lock.0);
            if again.is_some() {
                words.field("again", "yes");
            }
            notices(words, intervals);
            count(words, "sleepers", sleepers.len() as u64);
            count(words, "whole_pages", pages.len() as u64);
            words.field("epoch", epoch.0);
        }
        Message::LockTried {
            lock,
            requester,
            given,
        } => {
            words.field("lock", lock.0);
            words.drone("requester", requester.0);
            words.field("given", if *given { "yes" } else { "no" });
        }
        Message::LockSought {
            epoch,
            lock,
            requester,
        } => {
            words.field("lock", lock.0);
            words.drone("requester", requester.0);
            words.field("epoch", epoch.0);
        }
        Message::LockTaken { epoch, lock } => {
            words.field("lock", lock.0);
            words.field("epoch", epoch.0);
        }
        Message::Wake { lock, condition } => {
            words.field("lock", lock.0);
            words.field("condition", condition.0);
        }
        Message::Arrive {
            epoch,
            intervals,
            meeting,
            declined,
        } => {
            words.field("for", what_for(meeting.as_ref()));
            notices(words, intervals);
            count(words, "declined", pages_in(declined));
            words.field("epoch", epoch.0);
        }
        Message::ArriveTogether { epoch, arrivals } => {
            let meetings = arrivals.iter().map(|arrival| arrival.meeting.as_ref());
            // One that arrives for a collection makes the end of the epoch one.
            let decides = meetings.min_by_key(|meeting| meeting.is_some());
            words.field("for", what_for(decides.flatten()));
            words.field("drones", arrivals.len());
            let intervals = arrivals.iter().flat_map(|arrival| &arrival.intervals);
            notices(words, intervals);
            let declined = arrivals.iter().map(|arrival| pages_in(&arrival.declined));
            count(words, "declined", declined.sum());
            words.field("epoch", epoch.0);
        }
        Message::Depart {
            epoch,
            intervals,
            met,
            declined,
        } => {
            words.field(
                "for",
                match met {
                    Some(Met::Together { .. }) => "meeting",
                    Some(Met::Refused(_)) => "refusal",
                    None => "collection",
                },
            );
            notices(words, intervals);
            let declined = declined.iter().map(|(_, runs)| pages_in(runs));
            count(words, "declined", declined.sum());
            words.field("epoch", epoch.0);
        }
        Message::CollectWanted { epoch } | Message::Collect { epoch } => {
            words.field("epoch", epoch.0);
        }
        Message::Flush { epoch, pages, .. } => {
            let diffs: usize = pages.iter().map(|(_, diffs)| diffs.len()).sum();
            each_page(words, pages.iter().map(|(page, _)| *page));
            words.field("diffs", diffs);
            words.field("epoch", epoch.0);
        }
        Message::Allocate {
            request,
            bytes,
            align,
        } => {
            words.field("request", request);
            words.field("size_bytes", bytes);
            words.field("align", align);
        }
        Message::Measure { request, address } | Message::Free { request, address } => {
            words.field("request", request);
            words.field("address", address.0);
        }
        Message::HeapReply { request, result } => {
            words.field("request", request);
            match result {
                Ok(block) => words.field("address", block.address.0),
                Err(_) => words.field("result", "refused"),
            }
        }
    }
}

fn meeting(words: &mut Words<'_>, called: &Meeting) {
    words.say(name(called.kind));
    match called.kind {
        MeetingKind::Barrier(id) | MeetingKind::Split(id) => words.field("barrier", id.0),
        MeetingKind::Broadcast { root, bytes } => {
            words.drone("root", root.0);
            words.field("bytes", bytes);
        }
        MeetingKind::Reduce { bytes } => words.field("bytes", bytes),
        MeetingKind::Allocate { bytes, align } => {
            words.field("bytes", bytes);
            words.field("align", align);
        }
        MeetingKind::Free(address) => words.field("address", address.0),
        MeetingKind::Leave => {}
    }
}

fn name(kind: MeetingKind) -> &'static str {
    match kind {
        MeetingKind::Barrier(_) => "barrier",
        MeetingKind::Split(_) => "arrive",
        MeetingKind::Broadcast { .. } => "broadcast",
        MeetingKind::Reduce { .. } => "reduce",
        MeetingKind::Allocate { .. } => "allocate-together",
        MeetingKind::Free(_) => "free-together",
        MeetingKind::Leave => "leave",
    }
}

/// The write notices of intervals, ascending by page.
fn notices<'a>(words: &mut Words<'_>, intervals: impl IntoIterator<Item = &'a Interval>) {
    let intervals: Vec<&Interval> = intervals.into_iter().collect();
    count(words, "intervals", intervals.len() as u64);
    let runs = intervals.iter().flat_map(|interval| &interval.pages);
    let mut runs: Vec<(u64, u64)> = runs.map(pair).collect();
    runs.sort_unstable();
    runs.dedup();
    words.pages(runs);
}

/// For what somebody arrives.
fn what_for(meeting: Option<&Meeting>) -> &'static str {
    meeting.map_or("collection", |meeting| name(meeting.kind))
}

fn pages_in(runs: &[PageRun]) -> u64 {
    runs.iter().map(|run| run.count).sum()
}

/// A number that is only told where it isn't 0.
fn count(words: &mut Words<'_>, name: &str, count: u64) {
    if count > 0 {
        words.field(name, count);
    }
}

/// Pages one by one, told in runs.
fn each_page(words: &mut Words<'_>, pages: impl IntoIterator<Item = PageId>) {
    words.pages(PageRun::join(pages).iter().map(pair));
}

fn pair(run: &PageRun) -> (u64, u64) {
    (run.first.0, run.count)
}

fn collect(word: &str, tell: impl FnOnce(&mut Words<'_>)) -> String {
    let mut text = String::new();
    tell(&mut Words::new(&mut text, word));
    text
}
