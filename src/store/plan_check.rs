//! The query plan of every statement, in builds with `debug_assertions`: the first time that a statement
//! is asked for, SQLite says how it will find the rows. A plan that reads a whole large table, or sorts
//! its rows, is an error in the log, and fails the tests (`tests/terminal/harness/terminal.rs`), unless
//! [`MEANT`] names the statement. Plans do not depend on how many rows there are, so small tests show
//! what a full store would do.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use rusqlite::Connection;

/// Tables that may have more rows than can be read while drivers wait.
const LARGE: [&str; 15] = [
    "punch",
    "operation",
    "photo",
    "error",
    "user",
    "template",
    "picture",
    "card",
    "entry",
    "command",
    "gone",
    "tally",
    "job",
    "guest",
    "query_row",
];

/// Columns with a few values: all rows may have the same one.
const FEW_VALUES: [&str; 4] = ["kind", "type", "is_new", "name"];

/// Parts of statements whose plan reads all rows of a table or sorts them, and why they may.
const MEANT: &[(&str, &str)] = &[
    ("SELECT count(*) FROM error", "kept in memory"),
    ("SELECT count(*) FROM gone", "kept in memory; at most 5 000"),
    ("SELECT count(*) FROM guest", "kept in memory"),
    ("SELECT count(*) FROM user", "kept in memory"),
    ("SELECT length(text), reads, writes, pin, also, lane FROM job", "kept in memory"),
    ("SELECT (SELECT count(*) FROM template WHERE type = ?1)", "kept until people change"),
    ("SELECT count(DISTINCT pin) FROM template", "kept until people change"),
    ("SELECT EXISTS (SELECT 1 FROM user WHERE local > 0)", "the first row is enough"),
    ("SELECT EXISTS (SELECT 1 FROM template WHERE local > 0)", "the first row is enough"),
    ("SELECT EXISTS (SELECT 1 FROM picture WHERE local > 0)", "the first row is enough"),
    (" FROM gone ORDER BY changed LIMIT 1 OFFSET ?1", "the first 1 000 of an index"),
    (" ON command.row = job.command ORDER BY turn LIMIT ?1", "the first ones of an index"),
    (" FROM user WHERE card = ?1", "sorts those who have one card: one or two"),
    (" FROM user WHERE vice_card = ?1", "sorts those who have one card: one or two"),
    (" ORDER BY +changed", "sorts the rows of one person"),
    ("SELECT held, min(seq) FROM (", "rows that wait for the clock, once when it is set"),
    (" FROM guest WHERE until ", "guests have no index by time"),
    ("UPDATE guest SET until", "guests have no index by time"),
    ("DELETE FROM guest WHERE NOT EXISTS", "once at the end of a CLEAR DATA"),
    ("FROM command WHERE due > 0 OR goes_on", "once, when the server is another one"),
    ("SELECT command FROM job", "once at start"),
    (" FROM entry WHERE name = ?1", "a driver asks for a whole table"),
    (" LIMIT 0", "only its columns are counted"),
];

/// Whose plans were looked at.
#[derive(Default)]
pub(super) struct PlanCheck {
    /// Hashes of the texts of statements.
    seen: RefCell<BTreeSet<u64>>,
    /// The plans since a test began to keep them.
    #[cfg(test)]
    pub(super) kept: RefCell<Option<Vec<String>>>,
}

impl PlanCheck {
    /// A statement is about to run.
    pub(super) fn look(&self, connection: &Connection, sql: &str) {
        let mut hasher = DefaultHasher::new();
        sql.hash(&mut hasher);
        let is_first = self.seen.borrow_mut().insert(hasher.finish());
        #[cfg(test)]
        if let Some(kept) = &mut *self.kept.borrow_mut()
            && !sql.ends_with(" LIMIT 0")
        {
            kept.extend(plan(connection, sql));
        }
        if !is_first {
            return;
        }
        let sql: String = sql.split_whitespace().collect::<Vec<_>>().join(" ");
        let plan = plan(connection, &sql);
        if let Some(line) = first_long(&plan)
            && !MEANT.iter().any(|(part, _)| sql.contains(part))
        {
            log::error!("a statement reads a whole table: {line}: {sql}");
            #[cfg(test)]
            panic!("a statement reads a whole table: {line}: {sql}");
        }
    }
}

/// How SQLite finds the rows of a statement, a line for each table and each sorter.
fn plan(connection: &Connection, sql: &str) -> Vec<String> {
    // `EXPLAIN` of a PRAGMA would carry some of them out.
    if !["SELECT", "INSERT", "UPDATE", "DELETE"].iter().any(|verb| sql.starts_with(verb)) {
        return Vec::new();
    }
    let read = || -> rusqlite::Result<Vec<String>> {
        let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
        // Its parameters have no values, as when the statement is prepared.
        let mut rows = explained.raw_query();
        let mut lines = Vec::new();
        while let Some(row) = rows.next()? {
            lines.push(row.get(3)?);
        }
        Ok(lines)
    };
    // What fails here fails the statement itself, too.
    read().unwrap_or_default()
}

/// The first line of a plan that reads all rows of a large table, or sorts them.
fn first_long(plan: &[String]) -> Option<&String> {
    let has_large = plan.iter().any(|line| of_large(line));
    plan.iter().find(|line| {
        (has_large && line.starts_with("USE TEMP B-TREE")) || (of_large(line) && reads_all(line))
    })
}

/// Whether a line is about a large table.
pub(super) fn of_large(line: &str) -> bool {
    line.split(' ').nth(1).is_some_and(|table| LARGE.contains(&table))
}

/// Whether a line reads all rows of its table, or all with one of a few values.
fn reads_all(line: &str) -> bool {
    let is_few = |term: &str| {
        term.starts_with("ANY(")
            || term.split_once('=').is_some_and(|(column, _)| FEW_VALUES.contains(&column))
    };
    match line.split_once(" (") {
        Some((_, terms)) => terms.trim_end_matches(')').split(" AND ").all(is_few),
        // The first or the last row of an index has no condition.
        None => line.starts_with("SCAN "),
    }
}
