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
}

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

    /// A request of another kind was answered as it should be.
    pub(super) fn other_request_answered(&mut self) {
        self.others_answered = true;
    }

    /// The server took the next `rows` rows, or they were passed over.
    pub(super) fn passed(&mut self, rows: usize) {
        *self = Self { bisecting: self.bisecting.saturating_sub(rows), ..Self::default() };
    }

    /// A request with the next `rows` rows failed.
    pub(super) fn failed(&mut self, rows: usize, failure: Failure) -> Next {
        let is_searching = self.bisecting > 0;
        let is_due = match failure {
            Failure::Unrelated => return Next::SameAfterPause,
            Failure::Refused => true,
            Failure::Trouble => {
                if self.repeated != rows {
                    (self.repeated, self.failures, self.others_answered) = (rows, 0, false);
                }
                self.failures += 1;
                let enough = if self.others_answered { 2 } else { 3 };
                is_searching || self.failures >= enough
            }
        };
        if !is_due {
            return Next::SameAfterPause;
        }
        *self = Self { bisecting: rows, ..Self::default() };
        if rows > 1 { Next::HalfAtOnce } else { Next::Compare }
    }

    /// The comparison showed that it is the server's trouble: what failed goes again, in
    /// requests of the usual size, after a pause.
    pub(super) fn servers_trouble(&mut self) {
        *self = Self::default();
    }
}

/// What became of a row that was offered alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// The server took it.
    Taken,
    /// The server refused it, or failed.
    Refused,
    /// It was not sent as a whole, or not answered for a reason that no row can cause.
    Unclear,
}

/// What a comparison of a row with its neighbours showed: the first rows are settled.
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
            Offer::Refused => self.suspects.push(row),
            Offer::Unclear => self.unclear.push(row),
        }
    }
}

/// How often a refused row is offered once more at once.
pub(super) const REPEATS: u32 = 2;

/// Compares the first of `rows` rows, which was refused alone, with the others: `offer` sends one
/// row alone. The first row is offered `repeats` times more. `taken_before`: the request before took
/// other rows, which show as much where none waits. `None`: no other was taken, so that it is the
/// server's trouble.
///
/// # Errors
/// The first of `offer`.
pub(super) fn compare<E>(
    rows: usize,
    repeats: u32,
    taken_before: bool,
    mut offer: impl FnMut(usize) -> Result<Offer, E>,
) -> Result<Option<Comparison>, E> {
    if rows == 1 && taken_before {
        let mut found = Comparison { settled: 1, ..Comparison::default() };
        found.sort(0, offer_repeatedly(repeats, || offer(0))?);
        return Ok(Some(found));
    }
    for nth in 1..rows {
        match offer(nth)? {
            Offer::Unclear => return Ok(None),
            Offer::Refused => {}
            Offer::Taken => {
                let mut found = Comparison { settled: nth + 1, ..Comparison::default() };
                for before in 0..nth {
                    let repeats = if before == 0 { repeats } else { REPEATS };
                    found.sort(before, offer_repeatedly(repeats, || offer(before))?);
                }
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// Offers a row until the server takes it, or until it is unclear; at most `most` times.
fn offer_repeatedly<E>(most: u32, mut offer: impl FnMut() -> Result<Offer, E>) -> Result<Offer, E> {
    for _ in 0..most {
        match offer()? {
            Offer::Refused => {}
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
        use Offer::{Refused, Taken, Unclear};
        let settled = |settled, suspects: &[usize], unclear: &[usize]| {
            Some(Comparison { settled, suspects: suspects.into(), unclear: unclear.into() })
        };
        type Case<'a> = (&'a str, &'a [(usize, Offer)], Option<Comparison>);
        let cases: [Case<'_>; 6] = [
            ("none is taken", &[(1, Refused), (2, Refused)], None),
            ("it cannot be told", &[(1, Unclear)], None),
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
            let found = compare(3, REPEATS, false, |nth| {
                let (row, offer) = steps.next().expect("no more offers than are in the table");
                assert_eq!(nth, *row, "{what}");
                Ok::<_, ()>(*offer)
            });
            assert_eq!((found.unwrap(), steps.next()), (expected, None), "{what}");
        }
    }
}
