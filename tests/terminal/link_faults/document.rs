//! The tables of docs/operating.md: fault, what `status` says, what the doctor says, what to do.

use std::fs;
use std::path::Path;

/// A row of a table.
pub struct Row {
    pub fault: String,
    /// What `status` says behind `connecting: `, or, behind `log: `, a line of the log.
    status: String,
    /// The doctor's check, and what it says if that is not the same.
    doctor: Option<(String, Option<String>)>,
}

/// All rows of the table under a heading of the third level, which has four columns.
pub fn rows(heading: &str) -> Vec<Row> {
    cells(heading).iter().map(|cells| row(cells)).collect()
}

/// The cells of all rows of the table under such a heading.
pub fn cells(heading: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md");
    let text = fs::read_to_string(path).unwrap();
    let after = text.split_once(&format!("\n### {heading}\n")).expect(heading).1;
    let lines = after.split("\n#").next().unwrap_or_default().lines();
    let cells = lines.filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = cells.map(|cells| cells.split(" | ").map(str::to_owned).collect::<Vec<_>>());
    rows.filter(|cells| cells[0] != "fault").collect()
}

fn row(cells: &[String]) -> Row {
    let [fault, status, doctor, remedy] = cells else { panic!("not four cells: {cells:?}") };
    assert!(!remedy.is_empty(), "{fault}: what to do?");
    let doctor = (doctor != "–").then(|| match doctor.split_once("`: `") {
        Some((check, said)) => (plain(check), Some(plain(said))),
        None => (plain(doctor), None),
    });
    Row { fault: fault.clone(), status: plain(status), doctor }
}

/// Text without the marks of Markdown.
pub fn plain(text: &str) -> String {
    text.replace('`', "").trim_matches(' ').to_owned()
}

impl Row {
    /// Whether `status` says nothing of it.
    pub fn is_silent(&self) -> bool {
        self.status == "–"
    }

    /// What only the log says.
    pub fn logged(&self) -> Option<&str> {
        self.status.strip_prefix("log: ")
    }

    /// Whether this is what the row says: of `status`, and of the doctor's checks.
    pub fn fits(&self, said: &str, found: &[(String, String)], address: &str) -> bool {
        let is_in_status = !self.is_silent() && self.logged().is_none();
        let of_doctor = match &self.doctor {
            None => found.is_empty(),
            Some((check, message)) => {
                let expected = message.as_ref().unwrap_or(&self.status);
                matches!(found, [(it, said)] if it == check && fits(expected, said, address))
            }
        };
        of_doctor && (!is_in_status || fits(&self.status, said, address))
    }
}

/// Whether a text is as expected: `ADDRESS` stands for the address, `…` for anything.
pub fn fits(expected: &str, text: &str, address: &str) -> bool {
    let text = text.replace('`', "");
    let expected = expected.replace("ADDRESS", address);
    let mut parts = expected.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        let found = if is_last { rest.rfind(part) } else { rest.find(part) };
        let Some(at) = found else { return false };
        if is_last && !part.is_empty() && at + part.len() != rest.len() {
            return false;
        }
        rest = &rest[at + part.len()..];
    }
    true
}
