//! Punches as CSV, for a site that must move data by hand (`punchd export`, `punchd import`).
//!
//! No field can hold a comma or a quote, so none is ever quoted.

use serde_json::{Map, Value};

use crate::protocol::record::{Pin, Punch, WorkCode};
use crate::protocol::time::LocalTime;

/// The first line.
pub const HEADER: &str = "pin,time,status,verify,workcode";

/// The number of a line, and its punch as the method `punch` takes it.
pub type Line = (usize, Map<String, Value>);

/// A punch as a line, without its end.
pub fn row(punch: &Punch) -> String {
    let Punch { pin, time, status, verify, workcode } = punch;
    format!("{pin},{time},{status},{verify},{}", workcode.as_str())
}

/// Reads a file, and checks all of it. An error message names the line and the field.
pub fn read(text: &str) -> Result<Vec<Line>, String> {
    let mut lines = text.lines().enumerate().map(|(nth, line)| (nth + 1, line.trim_end()));
    match lines.next() {
        Some((_, HEADER)) => {}
        _ => return Err(format!("the first line is not {HEADER}")),
    }
    lines
        .filter(|(_, line)| !line.is_empty())
        .map(|(number, line)| match punch(line) {
            Ok(punch) => Ok((number, punch)),
            Err(why) => Err(format!("line {number}: {why}; nothing was recorded")),
        })
        .collect()
}

fn punch(line: &str) -> Result<Map<String, Value>, String> {
    let fields: Vec<&str> = line.split(',').collect();
    let [pin, time, status, verify, workcode] = fields[..] else {
        return Err(format!("it has {} fields in place of 5", fields.len()));
    };
    let number = |name: &str, text: &str, highest: u64| -> Result<Value, String> {
        let number = text.parse().ok().filter(|number: &u64| *number <= highest);
        number
            .map(Value::from)
            .ok_or_else(|| format!("{name} is no whole number from 0 to {highest}"))
    };
    Pin::new(pin).map_err(|invalid| invalid.to_string())?;
    WorkCode::new(workcode).map_err(|invalid| invalid.to_string())?;
    LocalTime::parse(time).ok_or("time is no time of the form YYYY-MM-DD hh:mm:ss")?;
    Ok(Map::from_iter([
        ("pin".to_owned(), pin.into()),
        ("time".to_owned(), time.into()),
        ("status".to_owned(), number("status", status, 255)?),
        ("verify".to_owned(), number("verify", verify, 28)?),
        ("workcode".to_owned(), workcode.into()),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_files_are_refused_with_line_and_field() {
        let with = |line: &str| format!("{HEADER}\n1,2026-11-02 08:00:00,0,1,0\n{line}\n");
        assert_eq!(read(&with("")).unwrap().len(), 1);
        for (text, message) in [
            (String::new(), "first line"),
            ("pin;time".into(), "first line"),
            (with("1,2026-11-02 08:00:00,0,1"), "line 3: it has 4 fields"),
            (with("a b,2026-11-02 08:00:00,0,1,0"), "line 3: pin"),
            (with("1,2026-02-30 08:00:00,0,1,0"), "line 3: time"),
            (with("1,2026-11-02 08:00:00,256,1,0"), "line 3: status"),
            (with("1,2026-11-02 08:00:00,0,29,0"), "line 3: verify"),
            (with("1,2026-11-02 08:00:00,0,1,a b"), "line 3: workcode"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(message), "{text:?}: {error}");
        }
    }
}
