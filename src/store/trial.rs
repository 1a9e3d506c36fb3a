//! The trial of an upgrade: what is known of a new program that is not trusted yet.
//!
//! It is one option of the store, so that both programs can read it, whichever version they are: the number of
//! the job, the state, the starts, the ends, and the reason, with spaces between them. A second one has the MD5 of
//! the new program, in hexadecimal.

use super::error::Result;
use super::options::{Options, TRIAL, TRIAL_PROGRAM};
use super::rows::Seq;

/// The trial of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The row of the upgrade's command.
    pub job: Seq,
    /// How far it is.
    pub state: TrialState,
    /// How often the new program was started.
    pub starts: u32,
    /// How often it ended by itself.
    pub ends: u32,
    /// Why it ended last, or was given up; empty if it was not.
    pub why: String,
}

/// How far a trial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialState {
    /// The new program runs, or is to run.
    Begun,
    /// It runs, and had an exchange with the server.
    Connected,
    /// It counts as good: it takes the place of the old one.
    Good,
    /// It had no exchange in its time. Whether the old one has one decides whose fault that was.
    Unconnected,
    /// It is given up.
    Failed,
}

impl TrialState {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Begun, "begun"),
        (Self::Connected, "connected"),
        (Self::Good, "good"),
        (Self::Unconnected, "unconnected"),
        (Self::Failed, "failed"),
    ];

    fn name(self) -> &'static str {
        let names = Self::ALL.into_iter().filter(|(state, _)| *state == self);
        names.map(|(_, name)| name).next().unwrap_or_default()
    }
}

impl Trial {
    /// The trial of an upgrade whose new program was not started yet.
    pub fn new(job: Seq) -> Self {
        Self { job, state: TrialState::Begun, starts: 0, ends: 0, why: String::new() }
    }

    /// The trial that is under way. One that cannot be read is given up.
    pub fn read(options: Options<'_>) -> Result<Option<Self>> {
        let Some(text) = options.get(TRIAL)? else { return Ok(None) };
        Ok(Some(Self::parse(&text).unwrap_or_else(|| Self {
            state: TrialState::Failed,
            why: "what was written down of it cannot be read".into(),
            ..Self::new(0)
        })))
    }

    /// Writes down that a trial begins.
    pub fn begin(&self, options: Options<'_>) -> Result<()> {
        options.clear(TRIAL_PROGRAM)?;
        self.write(options)
    }

    /// Writes it down.
    pub fn write(&self, options: Options<'_>) -> Result<()> {
        options.set(TRIAL, &self.to_text())
    }

    /// No trial is under way any more.
    pub fn clear(options: Options<'_>) -> Result<()> {
        options.clear(TRIAL_PROGRAM)?;
        options.clear(TRIAL)
    }

    /// Writes down which program is on trial, by its digest.
    pub fn set_program(options: Options<'_>, digest: &str) -> Result<()> {
        options.set(TRIAL_PROGRAM, digest)
    }

    /// The digest that was written down, if one was.
    pub fn program(options: Options<'_>) -> Result<Option<String>> {
        options.get(TRIAL_PROGRAM)
    }

    fn to_text(&self) -> String {
        let Self { job, state, starts, ends, why } = self;
        format!("{job} {} {starts} {ends} {why}", state.name())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(5, ' ');
        let mut next = || words.next();
        let (job, name) = (next()?.parse().ok()?, next()?);
        let (state, _) = TrialState::ALL.into_iter().find(|(_, known)| *known == name)?;
        let (starts, ends) = (next()?.parse().ok()?, next()?.parse().ok()?);
        Some(Self { job, state, starts, ends, why: next()?.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Limits, Store};

    #[test]
    fn a_trial_is_read_as_it_was_written_and_nonsense_is_given_up() {
        let store = Store::in_memory(Limits::default());
        assert_eq!(Trial::read(store.options()).unwrap(), None);
        let first = Trial::new(7);
        let later = Trial {
            state: TrialState::Unconnected,
            starts: 4,
            ends: 2,
            why: "it was killed by signal 11".into(),
            ..first.clone()
        };
        let states = TrialState::ALL.map(|(state, _)| Trial { state, ..later.clone() });
        for trial in [first, later].into_iter().chain(states) {
            trial.write(store.options()).unwrap();
            assert_eq!(Trial::read(store.options()).unwrap(), Some(trial));
        }
        for text in
            ["", "7", "7 begun", "7 begun 1 2", "x begun 1 2 ", "7 new 1 2 ", "7 begun -1 2 "]
        {
            store.options().set(TRIAL, text).unwrap();
            let trial = Trial::read(store.options()).unwrap().unwrap();
            assert_eq!(trial.state, TrialState::Failed, "{text:?}");
        }
        let program = || Trial::program(store.options()).unwrap();
        assert_eq!(program(), None);
        Trial::set_program(store.options(), "ab12").unwrap();
        assert_eq!(program(), Some("ab12".into()));
        Trial::clear(store.options()).unwrap();
        assert_eq!((Trial::read(store.options()).unwrap(), program()), (None, None));
    }
}
