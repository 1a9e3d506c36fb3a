//! The search for a row that a server refuses.
//!
//! Two things look alike from here: a server in trouble, and a server that fails because of one
//! row. So a request that met trouble goes again as it was. Only when the same rows, wholly sent,
//! failed three times, or twice while other requests were answered, it is halved, at once, until
//! one row is left. That row is compared with its neighbours: if none of them is taken, it is the
//! server's trouble. If one is taken, the row is offered twice more (twice, because there are
//! servers of which every second request fails). Refused each time, it is a *suspect*.
//!
//! A suspect is passed over and stays pending (`suspects`): the search is no verdict.

/// How a request that carried rows failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server refused the request itself: 400, 413, 422, or text in a 2xx that is not `OK`.
    Refused,
    /// The request was wholly sent, and an error status, an empty answer, a reset or no answer
    /// in time came back.
    Trouble,
    /// Nothing that a row can cause: not wholly sent, 407, 429, `Retry-After`.
    Unrelated,
}

/// What follows from a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The same rows go again after a pause.
    SameAfterPause,
    /// Half of the rows go at once.
    HalfAtOnce,
    /// One row is left: it is compared with its neighbours at once.
    Compare,
}

/// The search in one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RowSearch {
    /// The next so many rows failed together; the same go again.
    repeated: usize,
    /// How often they failed.
    failures: u32,
    /// Whether a request of another kind was answered since the first of these failures.
    others_answered: bool,
    /// Of the next so many rows at least one is refused. 0: no search is under way.
    bisecting: usize,
    /// The server took other rows since the search began.
    took_others: bool,
    /// A refused row was found, and the next request failed, too: the server is well, and more rows
    /// are refused.
    found_one: bool,
    /// Searches in a row that came to the server's trouble: each needs more failures than the last,
    /// so that a server in trouble does not get many small requests all the time.
    fruitless: u32,
}

/// After so many fruitless searches the next needs no more failures than this one did.
const MOST_FRUITLESS: u32 = 2;
/// The rows after a refused one with which it is compared, by their distance from it. After a
/// fruitless search some are farther away, since the same fault may be in several rows in a row.
const NEAR: [usize; 4] = [1, 2, 3, 4];
const FAR: [usize; 4] = [1, 5, 20, 60];

impl RowSearch {
    /// Most rows that the next request may carry.
    pub(super) fn most_rows(&self, most: usize) -> usize {
        match (self.bisecting, self.repeated) {
            (0, 0) => most,
            (0, repeated) => repeated,
            (bisecting, _) => (bisecting / 2).max(1),
        }
    }

    /// Whether the same rows go again.
    pub(super) fn is_repeating(&self) -> bool {
        self.repeated > 0
    }

    /// Whether a refused row is searched.
    pub(super) fn is_searching(&self) -> bool {
        self.bisecting > 0
    }

    /// Whether the server took other rows since the search began.
    pub(super) fn took_others(&self) -> bool {
        self.took_others
    }

    /// Which of the rows after a refused one are offered alone, by their distance from it, in their
    /// order. `is_stall`: no answer came to the row. The first neighbour without an answer ends the
    /// search then, so another one is the first each time.
    pub(super) fn neighbours(&self, is_stall: bool) -> [usize; 4] {
        let mut neighbours = if self.fruitless == 0 && !is_stall { NEAR } else { FAR };
        if is_stall {
            neighbours.rotate_left(self.fruitless as usize % FAR.len());
        }
        neighbours
    }

    /// A request of another kind was answered as it should be.
    pub(super) fn other_request_answered(&mut self) {
        self.others_answered = true;
    }

    /// The server took the next `rows` rows, or they were passed over.
    pub(super) fn passed(&mut self, rows: usize) {
        // A request that is taken as it is ends what was found before it.
        let found_one = self.found_one && self.is_searching();
        let bisecting = self.bisecting.saturating_sub(rows);
        *self = Self { bisecting, took_others: bisecting > 0, found_one, ..Self::default() };
    }

    /// The comparison found refused rows: what fails next is halved at once, until a request is taken.
    pub(super) fn found(&mut self) {
        self.found_one = true;
    }

    /// Whether rows without an answer may be passed over together, if the row after them is taken: once
    /// only, since that row may be at fault as well.
    pub(super) fn may_pass_together(&self) -> bool {
        self.fruitless == 0
    }

    /// A request with the next `rows` rows failed.
    pub(super) fn failed(&mut self, rows: usize, failure: Failure) -> Next {
        let is_searching = self.bisecting > 0;
        if failure == Failure::Unrelated {
            return Next::SameAfterPause;
        }
        if self.repeated != rows {
            (self.repeated, self.failures, self.others_answered) = (rows, 0, false);
        }
        self.failures += 1;
        let enough = match failure {
            Failure::Refused => 1,
            _ if self.found_one => 1,
            _ if self.others_answered => 2,
            _ => 3,
        };
        if !is_searching && self.failures < enough << self.fruitless.min(MOST_FRUITLESS) {
            return Next::SameAfterPause;
        }
        let Self { took_others, found_one, fruitless, .. } = *self;
        *self = Self { bisecting: rows, took_others, found_one, fruitless, ..Self::default() };
        if rows > 1 { Next::HalfAtOnce } else { Next::Compare }
    }

    /// The comparison showed that it is the server's trouble: what failed goes again, in
    /// requests of the usual size, after a pause.
    pub(super) fn servers_trouble(&mut self) {
        let fruitless = self.fruitless.saturating_add(1);
        *self = Self { fruitless, ..Self::default() };
    }
}

/// What became of a row that was offered alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// The server took it.
    Taken,
    /// The server refused it, or failed.
    Refused,
    /// No answer came, for a long time.
    Silent,
    /// It was not sent as a whole, or not answered for a reason that no row can cause.
    Unclear,
}

/// What the comparison of a row with others showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The server takes others: the first rows are settled.
    Settled(Comparison),
    /// The server takes none of them.
    NoneTaken,
    /// An offer was unclear before the server took any.
    Unclear,
}

/// The first rows, settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// How many rows are settled. The server took those that are in neither list.
    pub(super) settled: usize,
    /// Which of them are suspects.
    pub(super) suspects: Vec<usize>,
    /// Which of them have to be offered again, without a refusal that counts.
    pub(super) unclear: Vec<usize>,
}

impl Comparison {
    fn sort(&mut self, row: usize, offer: Offer) {
        match offer {
            Offer::Taken => {}
            Offer::Refused | Offer::Silent => self.suspects.push(row),
            Offer::Unclear => self.unclear.push(row),
        }
    }
}

/// How often a refused row is offered once more at once.
pub(super) const REPEATS: u32 = 2;

/// Compares the first of `rows` rows, which was refused alone, with its neighbours: `offer` sends
/// one row alone. `took_others`: the server took other rows just before, which show as much where
/// none waits. `is_stall`: no answer came to the row, so that only the neighbours are offered.
///
/// # Errors
/// The first of `offer`.
pub(super) fn compare<E>(
    rows: usize,
    neighbours: [usize; 4],
    took_others: bool,
    is_stall: bool,
    mut offer: impl FnMut(usize) -> Result<Offer, E>,
) -> Result<Verdict, E> {
    if rows == 1 && took_others {
        let mut found = Comparison { settled: 1, ..Comparison::default() };
        let repeats = if is_stall { 0 } else { REPEATS };
        found.sort(0, offer_repeatedly(repeats, || offer(0))?);
        return Ok(Verdict::Settled(found));
    }
    if rows == 1 && is_stall {
        return Ok(Verdict::NoneTaken);
    }
    // Without a neighbour the row goes once more: of some servers every second request fails.
    if rows == 1 {
        return Ok(match offer(0)? {
            Offer::Taken => Verdict::Settled(Comparison { settled: 1, ..Comparison::default() }),
            Offer::Refused | Offer::Silent => Verdict::NoneTaken,
            Offer::Unclear => Verdict::Unclear,
        });
    }
    let mut refused = vec![0];
    for neighbour in neighbours {
        // Where fewer wait than the distance, the last one has to do.
        let nth = neighbour.min(rows - 1);
        if refused.contains(&nth) {
            continue;
        }
        match offer(nth)? {
            Offer::Unclear => return Ok(Verdict::Unclear),
            Offer::Silent if is_stall => return Ok(Verdict::NoneTaken),
            Offer::Refused | Offer::Silent => refused.push(nth),
            Offer::Taken => {
                let mut found = Comparison { settled: nth + 1, ..Comparison::default() };
                for before in 0..nth {
                    if is_stall {
                        let is_refused = refused.contains(&before);
                        found
                            .sort(before, if is_refused { Offer::Refused } else { Offer::Unclear });
                        continue;
                    }
                    let repeats = REPEATS + u32::from(!refused.contains(&before));
                    found.sort(before, offer_repeatedly(repeats, || offer(before))?);
                }
                return Ok(Verdict::Settled(found));
            }
        }
    }
    Ok(Verdict::NoneTaken)
}

/// Offers a row until the server takes it, or until it is unclear; at most `most` times.
fn offer_repeatedly<E>(most: u32, mut offer: impl FnMut() -> Result<Offer, E>) -> Result<Offer, E> {
    for _ in 0..most {
        match offer()? {
            Offer::Refused | Offer::Silent => {}
            other => return Ok(other),
        }
    }
    Ok(Offer::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_follows_this_table() {
        use Failure::{Refused, Trouble, Unrelated};
        use Next::{Compare, HalfAtOnce, SameAfterPause};
        type Case<'a> = (&'a str, &'a [(usize, Failure, bool)], &'a [Next]);
        let cases: [Case<'_>; 7] = [
            (
                "a refusal is halved at once",
                &[(8, Refused, false), (4, Refused, false)],
                &[HalfAtOnce, HalfAtOnce],
            ),
            (
                "trouble goes again twice",
                &[(8, Trouble, false); 3],
                &[SameAfterPause, SameAfterPause, HalfAtOnce],
            ),
            (
                "once, if others were answered",
                &[(8, Trouble, true), (8, Trouble, false)],
                &[SameAfterPause, HalfAtOnce],
            ),
            (
                "in a search trouble is halved at once",
                &[
                    (8, Refused, false),
                    (4, Trouble, false),
                    (2, Trouble, false),
                    (1, Trouble, false),
                ],
                &[HalfAtOnce, HalfAtOnce, HalfAtOnce, Compare],
            ),
            (
                "one row is compared",
                &[(1, Trouble, false); 3],
                &[SameAfterPause, SameAfterPause, Compare],
            ),
            ("what was not sent never counts", &[(8, Unrelated, true); 5], &[SameAfterPause; 5]),
            (
                "other rows are counted anew",
                &[(8, Trouble, false), (8, Trouble, false), (7, Trouble, false)],
                &[SameAfterPause; 3],
            ),
        ];
        for (what, failures, expected) in cases {
            let mut search = RowSearch::default();
            let mut found = Vec::new();
            for (rows, failure, is_answered) in failures {
                found.push(search.failed(*rows, *failure));
                if *is_answered {
                    search.other_request_answered();
                }
            }
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn a_comparison_follows_this_table() {
        use Offer::{Refused, Silent, Taken, Unclear};
        let settled = |settled, suspects: &[usize], unclear: &[usize]| {
            let (suspects, unclear) = (suspects.into(), unclear.into());
            Verdict::Settled(Comparison { settled, suspects, unclear })
        };
        type Case<'a> = (&'a str, &'a [(usize, Offer)], Verdict);
        let cases: [Case<'_>; 9] = [
            ("no answer: one neighbour, and nothing again", &[(1, Taken)], settled(2, &[0], &[])),
            ("no answer, to the neighbour neither", &[(1, Silent)], Verdict::NoneTaken),
            (
                "no answer, and the neighbours fail",
                &[(1, Refused), (2, Refused)],
                Verdict::NoneTaken,
            ),
            ("none is taken", &[(1, Refused), (2, Refused)], Verdict::NoneTaken),
            ("it cannot be told", &[(1, Unclear)], Verdict::Unclear),
            (
                "the first is refused",
                &[(1, Taken), (0, Refused), (0, Refused)],
                settled(2, &[0], &[]),
            ),
            (
                "the second time it is taken",
                &[(1, Taken), (0, Refused), (0, Taken)],
                settled(2, &[], &[]),
            ),
            (
                "the next is refused, too",
                &[(1, Refused), (2, Taken), (0, Taken), (1, Refused), (1, Refused)],
                settled(3, &[1], &[]),
            ),
            ("the link fails meanwhile", &[(1, Taken), (0, Unclear)], settled(2, &[], &[0])),
        ];
        for (what, script, expected) in cases {
            let mut steps = script.iter();
            let is_stall = what.starts_with("no answer");
            let found = compare(3, NEAR, false, is_stall, |nth| {
                let (row, offer) = steps.next().expect("no more offers than are in the table");
                assert_eq!(nth, *row, "{what}");
                Ok::<_, ()>(*offer)
            });
            assert_eq!((found.unwrap(), steps.next()), (expected, None), "{what}");
        }
    }
}
