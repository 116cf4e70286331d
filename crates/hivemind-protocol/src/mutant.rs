//! Mutants: bugs that systems like this one really had, each kept as a switch. `cargo xtask mutants` turns one on at
//! a time and expects the simulator or a test to find it; one that survives is a hole in the tests. Which test finds
//! which is written in docs/TESTING.md.
//!
//! The switches exist only where the compiler is told `--cfg hivemind_mutants`. Without it [`mutant`] is `false` at
//! compile time, so a switch leaves nothing behind; with it a build without debug assertions is refused, so no
//! release can have them. The environment says which one is on: `HIVEMIND_MUTANT` names it.

#[cfg(all(hivemind_mutants, not(debug_assertions)))]
compile_error!(
    "hivemind_mutants builds bugs in: it is for `cargo xtask mutants` alone and needs debug assertions (profile `mutants`)"
);

macro_rules! mutants {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $bug:expr;)*) => {
        /// A bug that can be switched on in test builds. What each does wrong is said beside it; the switch stands
        /// where the bug would live.
        ///
        /// ```
        /// use hivemind_protocol::Mutant;
        /// assert!(Mutant::ALL.iter().any(|mutant| mutant.name() == "short-read"));
        /// ```
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Mutant {
            $($(#[$doc])* $variant,)*
        }

        impl Mutant {
            /// Every mutant.
            ///
            /// ```
            /// use hivemind_protocol::Mutant;
            /// assert!(Mutant::ALL.len() > 50);
            /// ```
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// How it is called on a command line.
            ///
            /// ```
            /// use hivemind_protocol::Mutant;
            /// assert_eq!(Mutant::ShortRead.name(), "short-read");
            /// ```
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Its number in the list of bugs that such systems had (docs/TESTING.md); none for one of our own that
            /// was mended.
            ///
            /// ```
            /// use hivemind_protocol::Mutant;
            /// assert_eq!(Mutant::ShortRead.bug(), Some(1));
            /// ```
            pub const fn bug(self) -> Option<u8> {
                match self {
                    $(Self::$variant => $bug,)*
                }
            }
        }
    };
}

mutants! {
    /// Bytes that one read brought are taken for the whole frame.
    ShortRead = "short-read", Some(1);
    /// A link on which nothing came for a tick is not read any more.
    IdleReaderEnds = "idle-reader-ends", Some(2);
    /// A frame is sent past those that still wait in the link's queue.
    FrameOvertakes = "frame-overtakes", Some(3);
    /// A message of the next epoch is taken for one of this.
    EarlyMessageTaken = "early-message-taken", Some(3);
    /// All waits of a drone have the same ticket: an answer wakes whoever waited last.
    OneTicketForAll = "one-ticket-for-all", Some(4);
    /// An answer goes to any fetch that its sender was asked for, whatever the page.
    ReplyToAnotherFetch = "reply-to-another-fetch", Some(4);
    /// Drone 0 waits for ever for drones that do not come.
    PartialStartWaits = "partial-start-waits", Some(5);
    /// Taking an interval in assigns its timestamp instead of merging it.
    ClockAssigned = "clock-assigned", Some(6);
    /// Intervals are told of newest first.
    NewestFirst = "newest-first", Some(6);
    /// A diff that hides several intervals counts as the last of them.
    DiffOfTheLast = "diff-of-the-last", Some(7);
    /// Another's diff is filed as one's own.
    DiffFiledAsOwn = "diff-filed-as-own", Some(7);
    /// Diffs apply in the order in which they come.
    DiffsUnordered = "diffs-unordered", Some(8);
    /// Flushed diffs apply in the order in which they come.
    FlushesUnordered = "flushes-unordered", Some(8);
    /// Writes that still hide behind a twin are not in the answer to who asks for them.
    HiddenDiffForgotten = "hidden-diff-forgotten", Some(9);
    /// Writes that still hide behind a twin are not in a flush.
    FlushWithoutCut = "flush-without-cut", Some(9);
    /// A page that was written on an incomplete copy is not completed before its drone arrives.
    BlindWritesLeft = "blind-writes-left", Some(9);
    /// The first arrival counts twice.
    ArrivalCountedTwice = "arrival-counted-twice", Some(10);
    /// A drone passes arrivals on before all below it have come.
    ArrivalPassedEarly = "arrival-passed-early", Some(10);
    /// Which collective call a drone makes is not compared.
    MeetingKindIgnored = "meeting-kind-ignored", Some(10);
    /// A page is compared with its twin before it is frozen.
    FrozenAfterReading = "frozen-after-reading", Some(11);
    /// The new twin is read after the diff was made, not with it.
    TwinReadAgain = "twin-read-again", Some(11);
    /// Numbers of locks are cut to 16 bits.
    NarrowLockId = "narrow-lock-id", Some(12);
    /// Numbers of drones are cut to 8 bits on the wire.
    NarrowDroneId = "narrow-drone-id", Some(12);
    /// An epoch's records stay when it is over.
    RecordsKept = "records-kept", Some(13);
    /// Nobody asks for a collection.
    CollectionNeverAsked = "collection-never-asked", Some(13);
    /// A grant carries only its giver's own intervals.
    GrantOfOwnIntervals = "grant-of-own-intervals", Some(14);
    /// A requester's timestamp of an older epoch is taken for one of this.
    OldTimestampTaken = "old-timestamp-taken", Some(14);
    /// A page that comes home keeps its twin.
    TwinKept = "twin-kept", Some(15);
    /// Diffs stay when their epoch is over.
    DiffsKept = "diffs-kept", Some(15);
    /// The intervals of a grant of an older epoch are taken in.
    OldGrantTaken = "old-grant-taken", Some(15);
    /// Pages over whose heads an epoch ended stay valid.
    StalePagesKept = "stale-pages-kept", Some(15);
    /// A flush of an older epoch is taken for the one of this epoch.
    LateFlushTaken = "late-flush-taken", Some(15);
    /// Who loses a page does not learn its new home.
    OldHomeKept = "old-home-kept", Some(16);
    /// A page that comes home keeps the list of its copies: its stores are noticed for nobody.
    OldCopysetKept = "old-copyset-kept", Some(16);
    /// A home does not note who got a copy.
    CopyNotNoted = "copy-not-noted", Some(16);
    /// A forward that comes before the token is dropped when the token comes.
    EarlyForwardDropped = "early-forward-dropped", Some(17);
    /// The manager does not note who asked last.
    LastRequesterForgotten = "last-requester-forgotten", Some(17);
    /// A page's label claims every interval that its sender knows.
    LabelClaimsAll = "label-claims-all", Some(18);
    /// Diffs that wait for the program's acquire are not in the copies that a home sends.
    FiledDiffsNotSent = "filed-diffs-not-sent", Some(18);
    /// A page is read once more to be sent after it was compared with its twin.
    ServedAsRead = "served-as-read", None;
    /// Writes that a sent page contains are in a later diff again.
    ServedWithoutCut = "served-without-cut", Some(18);
    /// A diff carries the whole words of which a byte changed.
    WholeWords = "whole-words", Some(19);
    /// Numbers of epochs are counted in 8 bits.
    EpochWraps = "epoch-wraps", Some(20);
    /// Numbers of intervals are counted in 8 bits.
    IntervalWraps = "interval-wraps", Some(20);
    /// A send waits until the peer has taken all.
    SendBlocks = "send-blocks", Some(21);
    /// Faults are handled one at a time, under a lock of the process.
    FaultsTakeTurns = "faults-take-turns", Some(22);
    /// Only the first page of a range is made present for a system call.
    OnePageTouched = "one-page-touched", Some(22);
    /// Pages' access is governed by protections, each change a mapping of its own.
    MappingEachPage = "mapping-each-page", Some(23);
    /// A drone that is lost is still listened to.
    LostDroneHeard = "lost-drone-heard", Some(24);
    /// Frames of a link that was given up are still handed over.
    LostLinkRead = "lost-link-read", Some(24);
    /// Intervals merge into the clock that decides which of them are new.
    ClockMergedInLoop = "clock-merged-in-loop", Some(26);
    /// Diffs that a page contains already apply again.
    CoveredDiffsAgain = "covered-diffs-again", None;
    /// A home is alone with its page though another writes it.
    WriterNotNoted = "writer-not-noted", None;
    /// A token does not leave a drone that waits in a meeting.
    TokenWaitsInMeeting = "token-waits-in-meeting", None;
    /// Stores between arrival and departure go with the flush of the epoch before.
    LaterStoresFlushed = "later-stores-flushed", None;
    /// A page that came may be replaced by another whole page, and that again.
    FetchAlternates = "fetch-alternates", None;
    /// Pages that lack writes are opened ahead of the program.
    LackingPageOpened = "lacking-page-opened", None;
    /// Calls to the heap take no turns: a freed block's new owner does not happen after its old one.
    HeapOutOfTurn = "heap-out-of-turn", None;
    /// The library's calls to the heap take no turns.
    LibraryOutOfTurn = "library-out-of-turn", None;
    /// A walk of an earlier epoch is taken for the one that the program is on.
    OldWalkTaken = "old-walk-taken", None;
    /// Pages that were opened for stores are taken for pages that none came to, without a look.
    FilledLeftOut = "filled-left-out", None;
    /// An interval goes on although a lock brought news.
    NewsWithoutEnd = "news-without-end", None;
    /// Those that none came to are closed without a look at what was stored there meanwhile.
    ClosedUnseen = "closed-unseen", None;
    /// A block that all free together leaves copies behind, of which its homes take no notice.
    FreedCopiesKept = "freed-copies-kept", None;
    /// What all allocate together holds what it held before.
    AnewNotCleared = "anew-not-cleared", None;
    /// What was on its way home when a block was made anew goes into its pages.
    AnewAwaitsFlush = "anew-awaits-flush", None;
    /// At a split barrier homes move to their writers, while the old homes' programs may write on.
    HomesMoveUnderWriters = "homes-move-under-writers", None;
    /// What is void at a split barrier is taken from the program at once, though it goes on.
    SplitTakesAtOnce = "split-takes-at-once", None;
    /// What the program wrote between the two calls of a split barrier is not told when it departs.
    DepartsUnclosed = "departs-unclosed", None;
    /// Who departs from a split barrier overlooks stores of which the diff is made already.
    CutOverlooked = "cut-overlooked", None;
    /// A page that was pushed while its old copy was in use stays for the next epoch.
    LandedOutlivesEpoch = "landed-outlives-epoch", None;
    /// A page to which a store is due is opened for good.
    DueUnwatched = "due-unwatched", None;
    /// A page that comes with a lock is taken though it lacks writes that the grant told of.
    LackingPageGranted = "lacking-page-granted", None;
    /// What was agreed with a page's old home about sending it holds for the new one.
    PushOutlivesHome = "push-outlives-home", None;
    /// A home goes on to send a page that its reader wants no more.
    DeclinedStillPushed = "declined-still-pushed", None;
    /// A page that was pushed with its home's arrival is taken though another wrote it too.
    VoidPushTaken = "void-push-taken", None;
    /// A page that was pushed with an arrival, and comes when nobody waits for it any more, is judged by where it lives now.
    LatePushJudged = "late-push-judged", None;
    /// The list of those who sleep until a lock's conditions are signalled stays where the lock was.
    SleepersLeftBehind = "sleepers-left-behind", None;
    /// Who sleeps shortest is woken first.
    LatestSleeperWoken = "latest-sleeper-woken", None;
    /// A drone that tried to take a lock in vain is last in line for it.
    VainTrialMovesTail = "vain-trial-moves-tail", None;
    /// A wish for a lock does not wait until it is known how a try before it ends.
    WishPassesTrial = "wish-passes-trial", None;
    /// A prefetch does not wait for the next epoch when this drone has arrived at the end of this.
    PrefetchAfterArrival = "prefetch-after-arrival", None;
    /// What came with a token before the program asked for it is not taken in when it takes the lock.
    UnopenedNotOpened = "unopened-not-opened", None;
    /// A token that goes on unopened leaves behind what came with it.
    UnopenedForgotten = "unopened-forgotten", None;
    /// A token for which nobody waits here waits for the end of the epoch.
    UnopenedWaits = "unopened-waits", None;
    /// A token that comes before the program asks for it is opened at once.
    OpenedAtOnce = "opened-at-once", None;
    /// Who tries to take a lock for which its drone is in line ahead is refused at once.
    AheadTriesInVain = "ahead-tries-in-vain", None;
    /// Who is asked by a try is sure that the lock is taken though its own program does not ask for it.
    AheadRefuses = "ahead-refuses", None;
    /// Who is woken stays on the list of those who sleep.
    SleeperStaysListed = "sleeper-stays-listed", None;
    /// A store that another drone may have seen is not told of when it was taken back since.
    TakenBackForgotten = "taken-back-forgotten", None;
    /// A departure is passed on without the intervals of those that arrived there.
    DepartureOfOthersAlone = "departure-of-others-alone", None;
    /// A departure is passed on as it comes, whatever it says.
    DepartureUnchecked = "departure-unchecked", None;
    /// Who waits tells nobody, so that what can wait elsewhere waits on.
    WaitsUntold = "waits-untold", None;
    /// The program is not kept out of pages that nobody watches while they become a large one.
    LargePageInReach = "large-page-in-reach", None;
    /// What a look at scattered pages finds between them is told of as they are.
    StoresBetweenTold = "stores-between-told", None;
    /// A page is opened with one beside it though what others wrote there is on its way home.
    ComingHomeOpened = "coming-home-opened", None;
    /// A walk goes on though this drone has arrived at the end of the epoch.
    WalksOnAfterArrival = "walks-on-after-arrival", None;
    /// The call for a collection stays with those right below the first drone.
    CallNotPassedOn = "call-not-passed-on", None;
}

/// Whether this mutant is on.
///
/// ```
/// use hivemind_protocol::{Mutant, mutant};
/// # #[cfg(not(hivemind_mutants))]
/// assert!(!mutant(Mutant::ShortRead)); // in every build that anybody runs
/// ```
#[cfg(not(hivemind_mutants))]
#[inline(always)]
pub const fn mutant(_: Mutant) -> bool {
    false
}

#[cfg(not(hivemind_mutants))]
const _: () = assert!(!mutant(Mutant::ClockAssigned));

#[cfg(hivemind_mutants)]
mod on {
    use super::Mutant;
    use core::sync::atomic::{AtomicUsize, Ordering};

    /// The place of the one that is on in the list of all; [`NONE`], or [`UNKNOWN`] as long as nobody has said.
    static ON: AtomicUsize = AtomicUsize::new(UNKNOWN);
    const NONE: usize = usize::MAX - 1;
    const UNKNOWN: usize = usize::MAX;

    /// Whether this mutant is on.
    ///
    /// ```
    /// use hivemind_protocol::{Mutant, mutant};
    /// if mutant(Mutant::ShortRead) {
    ///     println!("one read is taken for a frame");
    /// }
    /// ```
    pub fn mutant(which: Mutant) -> bool {
        ON.load(Ordering::Relaxed) == which as usize
    }

    /// Switches on what the environment says, read by `variable(name)`; from the second call on does nothing. Whoever
    /// makes worlds, links or memory calls it first.
    ///
    /// ```
    /// use hivemind_protocol::choose_mutant;
    /// choose_mutant(|name| std::env::var(name).ok());
    /// ```
    ///
    /// # Panics
    /// When no mutant is called so.
    pub fn choose_mutant<T: AsRef<str>>(variable: impl FnOnce(&str) -> Option<T>) {
        if ON.load(Ordering::Relaxed) != UNKNOWN {
            return;
        }
        let chosen = variable("HIVEMIND_MUTANT");
        let place = chosen.map_or(NONE, |chosen| {
            let name = chosen.as_ref();
            let place = Mutant::ALL.iter().position(|mutant| mutant.name() == name);
            place.unwrap_or_else(|| panic!("HIVEMIND_MUTANT: no mutant is called {name}"))
        });
        ON.store(place, Ordering::Relaxed);
    }
}

#[cfg(hivemind_mutants)]
pub use on::{choose_mutant, mutant};
