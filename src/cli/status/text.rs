//! A report as text for a person: a label and a text on each line, the texts in one column.

use serde_json::Value;

use crate::protocol::stream::Stream;
use crate::protocol::time::LocalTime;
use crate::store::MOST_ERRORS;

/// How many entries of the audit log a person is shown.
const SHOWN: usize = 10;
/// Reasons for waiting whose rows are listed one by one.
const LISTED: [&str; 2] = ["passed-over", "set-aside"];
/// The least width of the labels.
const NARROWEST: usize = 10;

/// The text of a report.
pub(super) fn of(report: &Value) -> String {
    let mut lines = Lines::default();
    terminal(report, &mut lines);
    streams(report, &mut lines);
    work(report, &mut lines);
    lines.aligned()
}

/// The lines of a report.
#[derive(Default)]
struct Lines<'a>(Vec<Line<'a>>);

enum Line<'a> {
    /// A label, and a text that stands in one column with the others.
    Labelled(&'a str, String),
    Whole(String),
}

impl<'a> Lines<'a> {
    fn add(&mut self, label: &'a str, text: String) {
        self.0.push(Line::Labelled(label, text));
    }

    fn aligned(&self) -> String {
        let label = |line: &Line<'_>| match line {
            Line::Labelled(label, _) => label.len(),
            Line::Whole(_) => 0,
        };
        let width = self.0.iter().map(label).max().unwrap_or(0).max(NARROWEST);
        let text = |line: &Line<'_>| match line {
            Line::Labelled(label, text) => format!("{label:<width$} {text}\n"),
            Line::Whole(text) => format!("{text}\n"),
        };
        self.0.iter().map(text).collect()
    }
}

/// The terminal, its server, its clock, its drivers.
fn terminal(report: &Value, lines: &mut Lines<'_>) {
    lines.add(
        "terminal",
        format!("{} (punchd {})", text(report, "serial"), text(report, "version")),
    );
    let is_encrypted = cfg!(feature = "exchange") && report["encrypted"] == true;
    let state = match (report["online"] == true, is_encrypted) {
        (true, true) => "online, encrypted",
        (true, false) => "online",
        (false, _) => "not connected",
    };
    lines.add("server", format!("{}: {state}", text(report, "server")));
    if let Some(at) = report["last_contact"].as_i64() {
        lines.add("contact", format!("last at {} UTC", LocalTime::describe(at)));
    }
    if let Some(message) = report["trouble"].as_str() {
        let at = report["trouble_at"].as_i64().map(LocalTime::describe).unwrap_or_default();
        lines.add("trouble", format!("{message} (at {at} UTC)"));
    }
    for message in elements(&report["attention"]).filter_map(Value::as_str) {
        lines.add("ATTENTION", message.into());
    }
    let next = |key: &str, what: &str| {
        report[key].as_u64().map(|seconds| format!("{what} in {seconds} s"))
    };
    let nexts = [next("next_poll_in", "poll"), next("next_handshake_in", "handshake")];
    let nexts: Vec<String> = nexts.into_iter().flatten().collect();
    if !nexts.is_empty() {
        lines.add("next", nexts.join(", "));
    }
    clock(report, lines);
    if let Some(shortage) = report["full"].as_str() {
        lines.add("FULL", format!("new punches are refused: {shortage}"));
    }
    if let Some(message) = report["failing"].as_str() {
        lines.add("FAILING", format!("nothing is recorded: {message}"));
    }
    let provided: Vec<String> = members(&report["provided"])
        .map(|(what, name)| format!("{what} by {}", name.as_str().unwrap_or("?")))
        .collect();
    if !provided.is_empty() {
        lines.add("drivers", provided.join(", "));
    }
}

/// The clock and the zone, and whether the server's dates set it.
fn clock(report: &Value, lines: &mut Lines<'_>) {
    let zone = report["zone"].as_str().unwrap_or("zone not known yet");
    if let Some(time) = report["time"].as_str() {
        lines.add("time", format!("{time} on the terminal's clock ({zone})"));
    }
    if report["clock_set"] == false {
        lines.add("clock", format!("not set; {} rows wait for it", report["held"]));
    }
    match report["zone_source"].as_str() {
        Some("unknown") => lines.add(
            "zone",
            format!(
                "not known: the terminal's own ({zone}) is used; set TimeZone at the server, or \
                 timezone in punchd.toml"
            ),
        ),
        Some("awaited") => lines.add(
            "zone",
            format!(
                "not known until the server names it; {} rows wait for it",
                report["held_for_zone"]
            ),
        ),
        _ => {}
    }
    let date = &report["last_date"];
    if let Some(reason) = date["reason"].as_str() {
        let text = text(date, "text");
        lines.add("date", format!("the server's Date {text:?} does not set the clock: {reason}"));
    }
    if let Some(seconds) = report["clock_step"]["seconds"].as_i64() {
        let at = report["clock_step"]["at"].as_i64().map(LocalTime::describe).unwrap_or_default();
        lines.add(
            "clock step",
            format!("by {seconds} s at {at} UTC; what was recorded before has the old time"),
        );
    }
}

/// What goes up: punches first, what has nothing pending in one line, then what was refused.
fn streams<'a>(report: &'a Value, lines: &mut Lines<'a>) {
    let place = |name: &str| Stream::ALL.into_iter().position(|stream| stream.name() == name);
    let mut streams: Vec<_> = members(&report["streams"]).collect();
    // A stream that this program does not know comes last.
    streams.sort_by_key(|(name, _)| place(name).unwrap_or(usize::MAX));
    let mut nothing = Vec::new();
    for (name, stream) in streams {
        let count = |key: &str| stream[key].as_u64().unwrap_or(0);
        let (pending, again) = (count("pending"), count("again"));
        let (suspects, quarantined) = (count("suspect"), count("quarantined"));
        let dropped = count("dropped");
        if pending + again + quarantined + dropped == 0 {
            nothing.push(name);
            continue;
        }
        let least = at_least(stream);
        let mut text = format!("{least}{pending} pending");
        if again > 0 {
            text += &format!(", {least}{again} to be sent again");
        }
        if suspects > 0 {
            text += &format!(", {suspects} of them passed over");
        }
        if dropped > 0 {
            text += &format!(", {dropped} deleted before they went up ({})", why_dropped(name));
        }
        if quarantined > 0 {
            text += &format!(", {quarantined} in quarantine");
        }
        lines.add(name, text);
        for waits in elements(&stream["waits"])
            .filter(|waits| !LISTED.contains(&self::text(waits, "reason")))
        {
            let (least, message) = (at_least(waits), self::text(waits, "message"));
            lines.add("", format!("{least}{} wait: {message}", waits["rows"]));
        }
    }
    if !nothing.is_empty() {
        lines.0.push(Line::Whole(format!("nothing pending: {}", nothing.join(", "))));
    }
    if let Some(rows @ 1..) = report["not_counted"].as_u64() {
        lines.add("delivered", format!("{rows} rows that the server did not count"));
    }
    for row in elements(&report["suspects"]) {
        let (stream, message) = (text(row, "stream"), text(row, "words"));
        let time = |key: &str| row[key].as_i64().map(LocalTime::describe).unwrap_or_default();
        let (since, next) = (time("at"), time("next_offer"));
        lines.add(
            "passed over",
            format!(
                "row {} of the {stream}, since {since} UTC, next offer at {next} UTC: {message}",
                row["seq"]
            ),
        );
    }
    for row in elements(&report["quarantine"]) {
        let (stream, message) = (text(row, "stream"), text(row, "words"));
        lines.add("refused", format!("row {} of the {stream}: {message}", row["seq"]));
    }
}

/// What stands before a number of rows that were not all counted.
fn at_least(counted: &Value) -> &'static str {
    if counted["at_least"] == true { "at least " } else { "" }
}

/// Why rows of a stream are deleted that the server does not have.
fn why_dropped(stream: &str) -> String {
    match stream == Stream::Errors.name() {
        true => format!("only the newest {MOST_ERRORS} are kept, and fewer if there is no room"),
        false => "for want of room".into(),
    }
}

/// What is kept, and what the server asked for.
fn work(report: &Value, lines: &mut Lines<'_>) {
    lines.add("replies", format!("{} pending", report["replies_pending"]));
    lines.add("kept", format!("{} punches, {} users", report["punches"], report["users"]));
    let room = |key: &str| report["room"][key].as_u64().map(|bytes| bytes >> 10);
    if let (Some(punches), Some(rest)) = (room("punches"), room("rest")) {
        lines.add("room", format!("{punches} KiB for punches, {rest} KiB for everything else"));
    }
    for job in elements(&report["jobs"]) {
        let far = match (job["fetched"].as_u64(), job["total"].as_u64()) {
            (Some(fetched), Some(total)) => format!(", {fetched} of {total} bytes"),
            _ => String::new(),
        };
        let (what, stage) = (text(job, "what"), text(job, "stage"));
        lines.add("under way", format!("command {}: {what} ({stage}{far})", text(job, "id")));
    }
    for entry in elements(&report["audit"]).take(SHOWN) {
        let at = entry["at"].as_i64();
        let at = at.map_or_else(
            || "clock not set".into(),
            |at| format!("{} UTC", LocalTime::describe(at)),
        );
        let what = text(entry, "what");
        let result = match entry["result"].as_i64() {
            Some(code) => format!("answered {code}"),
            None => "under way".into(),
        };
        lines.add("asked", format!("{at}, {}: {what}: {result}", text(entry, "id")));
    }
}

/// A member that is a text.
fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("?")
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
