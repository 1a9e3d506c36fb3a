//! The ledger of a recording: which rows the store had after each step, to the byte.

use std::collections::HashMap;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::store::db::highest_seq;
use crate::store::rows::Seq;

/// A row with the name of its table, as it can be read by people.
type Row = Vec<u8>;

/// What is not compared: counts that are made again when they are missing (`tally`; they are checked
/// against the rows), and what each start writes.
const ROWS: &str =
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
     AND name <> 'tally' ORDER BY name";
const OF_THE_START: &str = "WHERE key NOT IN ('punchd.store', 'punchd.run')";

/// The rows of a store.
pub(super) struct Rows {
    rows: Vec<Row>,
    /// The highest number that was ever given, as a start finds it.
    highest: Seq,
}

impl Rows {
    pub(super) fn read(db: &Connection) -> rusqlite::Result<Self> {
        let tables: Vec<String> =
            db.prepare(ROWS)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let mut all = Vec::new();
        for table in tables {
            let which = if table == "option" { OF_THE_START } else { "" };
            let mut statement = db.prepare(&format!("SELECT * FROM \"{table}\" {which}"))?;
            let columns = statement.column_count();
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let mut text = table.clone().into_bytes();
                for column in 0..columns {
                    text.extend(b" | ");
                    match row.get_ref(column)? {
                        ValueRef::Null => text.extend(b"NULL"),
                        ValueRef::Integer(number) => text.extend(number.to_string().bytes()),
                        ValueRef::Real(number) => text.extend(number.to_string().bytes()),
                        ValueRef::Text(bytes) => text.extend([b"'", bytes, b"'"].concat()),
                        ValueRef::Blob(bytes) => text.extend([b"x'", bytes, b"'"].concat()),
                    }
                }
                all.push(text);
            }
        }
        Ok(Self { rows: all, highest: highest_seq(db)? })
    }

    pub(super) fn count(&self) -> usize {
        self.rows.len()
    }
}

/// What the store held when a call had returned.
struct State {
    /// Where on the tape.
    position: usize,
    rows: usize,
    highest: Seq,
}

/// The rows by the states in which they were there.
#[derive(Default)]
pub(super) struct Ledger {
    ids: HashMap<Row, usize>,
    /// For each row: from which state on, and up to before which, as often as it came.
    lives: Vec<Vec<(usize, usize)>>,
    states: Vec<State>,
}

impl Ledger {
    /// Notes what the store holds at a position of the tape: it is acknowledged.
    pub(super) fn note(&mut self, rows: &Rows, position: usize) {
        let state = self.states.len();
        let mut is_there = vec![false; self.lives.len()];
        for row in &rows.rows {
            let id = match self.ids.get(row) {
                Some(id) => *id,
                None => {
                    self.ids.insert(row.clone(), self.lives.len());
                    self.lives.push(Vec::new());
                    is_there.push(false);
                    self.lives.len() - 1
                }
            };
            is_there[id] = true;
            match self.lives[id].last() {
                Some((_, usize::MAX)) => {}
                _ => self.lives[id].push((state, usize::MAX)),
            }
        }
        for (life, is_there) in self.lives.iter_mut().zip(is_there) {
            if let (Some((_, end @ usize::MAX)), false) = (life.last_mut(), is_there) {
                *end = state;
            }
        }
        self.states.push(State { position, rows: rows.count(), highest: rows.highest });
    }

    /// How many states were noted.
    pub(super) fn states(&self) -> usize {
        self.states.len()
    }

    fn is_in(&self, id: usize, state: usize) -> bool {
        self.lives[id].iter().any(|(from, to)| (*from..*to).contains(&state))
    }

    /// Compares what a start found after a power cut at a position with what was acknowledged before:
    /// that it is, with the next step as a whole or without it.
    ///
    /// # Errors
    /// What is missing and what is too much, of the step that was acknowledged last.
    pub(super) fn compare(&self, found: &Rows, position: usize) -> Result<(), String> {
        let acknowledged = self.states.partition_point(|state| state.position <= position);
        let last = acknowledged.checked_sub(1).expect("the first state is at position 0");
        let ids: Vec<_> = found.rows.iter().map(|row| self.ids.get(row).copied()).collect();
        let is_state = |state: usize| {
            let is_there = |id: &Option<usize>| id.is_some_and(|id| self.is_in(id, state));
            self.states.get(state).is_some_and(|expected| {
                expected.rows == ids.len()
                    && ids.iter().all(is_there)
                    && expected.highest <= found.highest
            })
        };
        if is_state(last) || is_state(last + 1) {
            return Ok(());
        }
        let is_found = |id: &usize| ids.contains(&Some(*id));
        let missing: Vec<_> =
            (0..self.lives.len()).filter(|id| self.is_in(*id, last) && !is_found(id)).collect();
        let excess = (0..ids.len()).filter(|nth| !ids[*nth].is_some_and(|id| self.is_in(id, last)));
        let mut text = format!(
            "after step {last} of {} the store has {} rows in place of {}, its highest number is {} and \
             was {}\n",
            self.states.len(),
            ids.len(),
            self.states[last].rows,
            found.highest,
            self.states[last].highest
        );
        let names: HashMap<usize, &Row> = self.ids.iter().map(|(row, id)| (*id, row)).collect();
        missing.iter().take(5).for_each(|id| text += &format!("  lost: {}\n", readable(names[id])));
        excess.take(5).for_each(|nth| text += &format!("  new: {}\n", readable(&found.rows[nth])));
        Err(text)
    }
}

fn readable(row: &[u8]) -> String {
    String::from_utf8_lossy(row).escape_debug().take(160).collect()
}
