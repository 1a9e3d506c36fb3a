//! What holds after each failure: nothing lost, nothing doubled, nothing called damage, and all goes on.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::bench::Bench;
use super::phases::{Outcome, Phase, punch};

/// Punches of the store of version 0.1.0, and how many of them are still to be sent: three new ones, and 69
/// that the server asked for again; one of these it had refused before.
const EARLIER: (i64, usize) = (103, 72);

/// How often each PIN came before a phase.
pub type Before = BTreeMap<String, usize>;

pub fn before(bench: &Bench) -> Before {
    bench.seen(|seen| seen.punches.iter().map(|(pin, rows)| (pin.clone(), rows.len())).collect())
}

/// Checks all of it. A PIN that had come before the phase may not come again.
pub fn check(bench: &mut Bench, phase: Phase, before: &Before) -> Result<(), String> {
    goes_on(bench)?;
    tells_no_false_alarm(bench)?;
    nothing_doubled(bench, before)?;
    nothing_lost(bench, phase)
}

/// The next punch is taken, and arrives; so did all before it.
fn goes_on(bench: &mut Bench) -> Result<(), String> {
    let outcome = punch(bench)?;
    if outcome != Outcome::Done {
        return Err(format!("the next punch: {outcome:?}"));
    }
    let all_came = |bench: &Bench| {
        bench.seen(|seen| bench.acknowledged.iter().all(|pin| seen.punches.contains_key(pin)))
    };
    match bench.until("all punches at the server", all_came)? {
        true => Ok(()),
        false => Err("the program ended later".into()),
    }
}

fn tells_no_false_alarm(bench: &mut Bench) -> Result<(), String> {
    // What is pending is known to be sent after the acknowledgement.
    let mut status = Value::Null;
    let settled = |bench: &Bench| {
        status = bench.status().unwrap_or_default();
        let punches = &status["streams"]["punches"];
        punches["pending"] == 0
            && punches["again"] == 0
            && status["jobs"] == json!([])
            && status["quarantine"] == json!([])
    };
    if !bench.until("settled", settled)? {
        return Err("the program ended later".into());
    }
    let is_quiet = ["store_notice", "failing", "full"].iter().all(|key| status[*key].is_null())
        && status["store_damaged"] == false
        && status["suspects"] == json!([])
        && status["attention"] == json!([]);
    if !is_quiet {
        return Err(format!("a false alarm: {status:#}"));
    }
    let log = bench.terminal.log();
    let bad = ["is damaged", "was damaged", "panicked", "malformed", "is lost", "are lost"];
    match log.lines().find(|line| bad.iter().any(|word| line.contains(word))) {
        Some(line) => Err(format!("the log: {line}")),
        None => Ok(()),
    }
}

/// How often a PIN may come if it did not come before a phase: the acknowledgement of its row may be what is
/// lost.
pub fn most(pin: &str) -> usize {
    // The server asked for this row again, which another one had refused: it is sent for both reasons.
    if pin == "13" { 3 } else { 2 }
}

fn nothing_doubled(bench: &Bench, before: &Before) -> Result<(), String> {
    bench.seen(|seen| {
        for (pin, rows) in &seen.punches {
            let is_same = rows.iter().all(|row| *row == rows[0]);
            let most = before.get(pin).copied().unwrap_or(most(pin));
            if rows.len() > most || !is_same {
                return Err(format!("{pin} came {} times: {rows:?}", rows.len()));
            }
            if bench.refused.contains(pin) {
                return Err(format!("{pin} was refused, and came"));
            }
        }
        Ok(())
    })
}

/// The store as a power cut would leave it now is whole, and has what was acknowledged.
fn nothing_lost(bench: &Bench, phase: Phase) -> Result<(), String> {
    let copy = copy_of_store(bench)?;
    let store = rusqlite::Connection::open(&copy).map_err(|error| error.to_string())?;
    let one = |sql: &str| -> Result<String, String> {
        let as_text = format!("SELECT CAST(({sql}) AS TEXT)");
        store.query_row(&as_text, [], |row| row.get(0)).map_err(|error| error.to_string())
    };
    let whole: String = store
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .map_err(|error| error.to_string())?;
    if whole != "ok" {
        return Err(format!("the store is damaged: {whole}"));
    }
    for pin in &bench.acknowledged {
        let rows = one(&format!("SELECT count(*) FROM punch WHERE pin = '{pin}'"))?;
        if rows != "1" {
            return Err(format!("{pin} was acknowledged, and is in the store {rows} times"));
        }
    }
    if phase == Phase::Migration {
        let rows = one("SELECT count(*) FROM punch WHERE length(pin) < 6")?;
        let sent = bench.seen(|seen| seen.punches.keys().filter(|pin| pin.len() < 6).count());
        if (rows.as_str(), sent) != (EARLIER.0.to_string().as_str(), EARLIER.1) {
            return Err(format!("{rows} punches of the earlier store, {sent} of them sent"));
        }
    }
    let spool = fs::read_dir(bench.terminal.path("punchd.db.files")).map_or(0, Iterator::count);
    let left = fs::read_dir(bench.terminal.path("")).unwrap().flatten();
    let aside = left.filter(|file| file.file_name().to_string_lossy().contains("damaged")).count();
    match (spool, aside) {
        (0, 0) => Ok(()),
        _ => Err(format!("{spool} files of downloads are left, {aside} stores are set aside")),
    }
}

/// A copy of the store and its log, at one moment.
fn copy_of_store(bench: &Bench) -> Result<PathBuf, String> {
    let path = |name: &str| bench.terminal.path(name);
    let read = |name: &str| fs::read(path(name)).unwrap_or_default();
    for _ in 0..100 {
        let (store, log) = (read("punchd.db"), read("punchd.db-wal"));
        // A checkpoint may come between.
        if store == read("punchd.db") && log == read("punchd.db-wal") {
            fs::write(path("copy.db"), store).unwrap();
            fs::write(path("copy.db-wal"), log).unwrap();
            return Ok(path("copy.db"));
        }
    }
    Err("the store is written without end".into())
}

/// The program is killed, and starts again with the same store and its log.
pub fn survives_kill(bench: &mut Bench, phase: Phase) -> Result<(), String> {
    bench.terminal.kill();
    let before = before(bench);
    bench.restart()?;
    check(bench, phase, &before).map_err(|error| format!("after a kill: {error}"))
}

/// The program ends when it is asked to, and starts again with the same store.
pub fn restarts_clean(bench: &mut Bench, phase: Phase) -> Result<(), String> {
    let code = bench.terminal.stop();
    if code != 0 {
        return Err(format!("TERM ends it with {code}"));
    }
    let before = before(bench);
    bench.restart()?;
    check(bench, phase, &before)
}
