//! What happened, in lines for whoever reads of a failure.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::time::Duration;

/// A promise was not kept. It ends the day by unwinding, wherever it is found.
pub(super) struct Violation(pub(super) String);

/// The program dies. It ends a step by unwinding.
pub(super) struct Crash;

pub(super) fn violated(what: String) -> ! {
    resume_unwind(Box::new(Violation(what)))
}

/// What a day ended with, if it did not end well.
pub(super) fn message(payload: Box<dyn Any + Send>) -> String {
    let payload = match payload.downcast::<Violation>() {
        Ok(violation) => return violation.0,
        Err(payload) => payload,
    };
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    format!("panic: {}", text.unwrap_or_default())
}

/// The lines. They are written only for a day that is known to fail.
#[derive(Default)]
pub(super) struct Story {
    is_told: Cell<bool>,
    lines: RefCell<Vec<(String, String)>>,
}

impl Story {
    pub(super) fn begin(&self) {
        self.is_told.set(true);
    }

    pub(super) fn tell(&self, now: Duration, line: impl FnOnce() -> String) {
        if self.is_told.get() {
            let (seconds, millis) = (now.as_secs(), now.subsec_millis());
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            let time = format!("{hours:02}:{minutes:02}:{seconds:02}.{millis:03}");
            self.lines.borrow_mut().push((time, line()));
        }
    }

    /// The last lines of it; requests that go like the one before them are left out.
    pub(super) fn text(&self, most: usize) -> String {
        let lines = self.lines.borrow();
        let (mut found, mut nth, mut left_out) = (Vec::new(), 0, 0);
        while nth < lines.len() {
            let text = |at: usize| lines.get(at).map(|(_, text)| text);
            let is_same = nth >= 2 && text(nth) == text(nth - 2) && text(nth + 1) == text(nth - 1);
            if is_same {
                (nth, left_out) = (nth + 2, left_out + 1);
                continue;
            }
            if left_out > 0 {
                found.push(format!("             ({left_out} times more)"));
                left_out = 0;
            }
            found.push(format!("{} {}", lines[nth].0, lines[nth].1));
            nth += 1;
        }
        found[found.len().saturating_sub(most)..].join("\n")
    }
}
